"""Euler's and Heun's method of EDM, for every schedule.

In y = x / alpha and r = sigma / alpha every probability-flow ODE reads dy/dr = (y - D) / r (Karras et al. 2022, eq. 3
and algorithm 2), so a step of EDM's is a step of any schedule's.
"""

import torch
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, Karras

__all__ = ["Euler", "Heun"]


class Euler(Sampler):
    """Euler's method in r = sigma / alpha, with EDM's churn.

    Args:
        steps: number of steps.
        churn: S_churn: fresh noise is added before a step, up to the factor 1 + min(S_churn / steps, sqrt(2) - 1) in r.
        churn_from, churn_to: S_tmin and S_tmax, the range of r in which noise is added.
        churn_noise: S_noise, the standard deviation of the fresh noise.
        grid: Karras' unless given.
    """

    def __init__(
        self,
        steps: int = 18,
        churn: float = 0.0,
        churn_from: float = 0.0,
        churn_to: float = float("inf"),
        churn_noise: float = 1.0,
        grid: Grid | None = None,
    ):
        super().__init__(steps, grid or Karras())
        self.churn, self.churn_from, self.churn_to, self.churn_noise = churn, churn_from, churn_to, churn_noise

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_t, t = self._churn(schedule, x_t, t, noise)
        return self._advance(schedule, mean, x_t, t, s)[0]

    def _advance(self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor) -> tuple[Batch, Tensor, Batch]:
        """Return x_s, the step r_s - r_t and the slope (y - D) / r at t."""
        alpha_t, sigma_t = schedule(t)
        alpha_s, sigma_s = schedule(s)
        ratio_t = sigma_t / alpha_t
        stride = sigma_s / alpha_s - ratio_t
        y = x_t / alpha_t.to(x_t)
        slope = (y - mean(x_t, t)) / ratio_t.to(x_t)
        return alpha_s.to(x_t) * (y + stride.to(x_t) * slope), stride, slope

    def _churn(self, schedule: Schedule, x_t: Batch, t: Tensor, noise: Randomness) -> tuple[Batch, Tensor]:
        alpha, sigma = schedule(t)
        ratio = sigma / alpha
        gamma = min(self.churn / self.steps, 2**0.5 - 1)
        if gamma == 0 or not self.churn_from <= ratio <= self.churn_to:
            return x_t, t
        # r (1 + gamma), but not beyond the end of the schedule, where no network was trained
        last = (-schedule.log_snr(torch.ones_like(t)) / 2).exp()
        raised = torch.minimum(ratio * (1 + gamma), last)
        z = noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
        y = x_t / alpha.to(x_t) + (raised**2 - ratio**2).clamp_min(0).sqrt().to(x_t) * self.churn_noise * z
        t = schedule.time(-2 * raised.log())
        return schedule(t)[0].to(x_t) * y, t


class Heun(Euler):
    """Heun's second-order method of EDM: Euler's step, then the average of the slopes; Euler's alone to the data."""

    @property
    def nfe(self) -> int:
        return 2 * self.steps - 1

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_t, t = self._churn(schedule, x_t, t, noise)
        x_s, stride, slope = self._advance(schedule, mean, x_t, t, s)
        alpha_s, sigma_s = schedule(s)
        if sigma_s == 0:
            return x_s
        end_slope = (x_s / alpha_s.to(x_t) - mean(x_s, s)) / (sigma_s / alpha_s).to(x_t)
        return x_s + (alpha_s * stride).to(x_t) * (end_slope - slope) / 2
