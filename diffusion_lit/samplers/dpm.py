"""DPM-Solver++(2M): a second-order multistep method in lambda = log(alpha / sigma) (Lu et al. 2022)."""

from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["DPMSolverPP"]


class DPMSolverPP(Sampler):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): one call of the denoiser a step.

    x_s = (sigma_s / sigma_t) x_t - alpha_s (e^-h - 1) D',  h = lambda_s - lambda_t,
    D' = (1 + 1/(2r)) D_t - 1/(2r) D_before,  r = h_before / h.

    The first step, and the last, to the data (where h is infinite), are of first order, D' = D_t.
    """

    def __init__(self, steps: int = 20, grid: Grid | None = None):
        super().__init__(steps, grid or LogSNR())

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        alpha_s, sigma_s = schedule(s)
        _, sigma_t = schedule(t)
        estimate = mean(x_t, t)
        past.append((t, estimate))
        if sigma_s == 0:
            return estimate
        h = (schedule.log_snr(s) - schedule.log_snr(t)) / 2
        if len(past) > 1:
            before, estimate_before = past.pop(0)
            weight = (h / (schedule.log_snr(t) - schedule.log_snr(before))).to(x_t)  # 1 / (2r)
            estimate = estimate + weight * (estimate - estimate_before)
        return (sigma_s / sigma_t).to(x_t) * x_t - (alpha_s * (-h).expm1()).to(x_t) * estimate
