"""Exponential Adams-Bashforth: the noise prediction carried on as a straight line in log(sigma / alpha)."""

from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["ExponentialAB"]


class ExponentialAB(Sampler):
    """The second-order exponential Adams-Bashforth method (Zhang & Chen 2023, DEIS, eq. 14): one call a step.

    With y = x / alpha, r = sigma / alpha and u = log r the probability flow is dy = eps dr = eps e^u du. With eps on
    the line through its last two values, the integral is closed:

        y_s = y_t + (r_s - r_t) eps_t + ((u_s - u_t) r_s - (r_s - r_t)) (eps_t - eps_before) / (u_t - u_before).

    DEIS draws the line in t, which needs quadrature; in u it is DPM-Solver's variable (Lu et al. 2022). The first step
    is of first order, DDIM's; so is the last, to the data, where u is infinite.
    """

    def __init__(self, steps: int = 20, grid: Grid | None = None):
        super().__init__(steps, grid or LogSNR())

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        estimate = mean(x_t, t)
        if s == 0:
            return estimate
        eps = (x_t - alpha_t.to(x_t) * estimate) / sigma_t.to(x_t)
        past.append((t, eps))
        stride = sigma_s / alpha_s - sigma_t / alpha_t
        change = stride.to(x_t) * eps
        if len(past) > 1:
            before, eps_before = past.pop(0)
            forward = (schedule.log_snr(t) - schedule.log_snr(s)) / 2  # u_s - u_t
            backward = (schedule.log_snr(before) - schedule.log_snr(t)) / 2
            weight = (forward * sigma_s / alpha_s - stride) / backward
            change = change + weight.to(x_t) * (eps - eps_before)
        return alpha_s.to(x_t) * (x_t / alpha_t.to(x_t) + change)
