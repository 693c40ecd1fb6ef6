"""Langevin moves x + h grad log p + sqrt(2h) z: at one noise level, or down a ladder of levels.

A move at time t keeps p_t (up to its step size), so it can run alone, between the steps of another sampler
(`predictor.py`), or with a test that makes it exact (`metropolis.py`). Ladders live in y = x / alpha, where every
schedule is one of r = sigma / alpha: y stays when the level changes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.base import Mean, Past, Sampler
from diffusion_lit.samplers.grids import Grid, LogSNR, Uniform
from diffusion_lit.samplers.step_sizes import Annealed, Constant, StepSize

__all__ = [
    "ULA",
    "AnnealedLangevin",
    "ConsistentAnnealed",
    "Langevin",
    "level",
]


@dataclass(frozen=True)
class Langevin:
    """`moves` unadjusted moves at one time: (mean, x_t, t, noise) -> x_t. One call of the denoiser a move."""

    step_size: StepSize
    moves: int = 1

    def __post_init__(self):
        if self.moves < 1:
            raise UserError(f"moves: {self.moves} < 1")

    def __call__(self, mean: Mean, x_t: Batch, t: Tensor, noise: Randomness) -> Batch:
        for _ in range(self.moves):
            score = mean.score(x_t, t)
            z = noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
            h = expand(self.step_size(mean.denoiser.schedule, t, score, z), x_t)
            x_t = x_t + h * score + (2 * h).sqrt() * z
        return x_t


def level(schedule: Schedule, t: float | None, like: Tensor) -> Tensor:
    """The time () at which a sampler of one level runs: t, or the schedule's t_min."""
    return torch.full_like(like, schedule.t_min if t is None else t)


class ULA(Sampler):
    """The unadjusted Langevin algorithm at one noise level; its samples are of p_t, in units of x_t.

    Not exact: on N(0, 1) the variance becomes 1 / (1 - h / 2). It starts from sigma_1 z, or, by `integrate`, from any
    x; the times of the grid only count the steps.

    Args:
        steps: moves, one call of the denoiser each.
        step_size: h > 0, in units of x_t squared.
        t: the noise level; the schedule's t_min unless given.
    """

    def __init__(self, steps: int = 1000, step_size: float = 1e-2, t: float | None = None):
        super().__init__(steps, Uniform())
        self.move, self.t = Langevin(Constant(step_size)), t

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        return self.move(mean, x_t, level(schedule, self.t, t), noise)


class AnnealedLangevin(Sampler):
    """Langevin moves at each level of a ladder, then the mean (Song & Ermon 2019, algorithm 1, and 2020).

    It is biased: the moves of a level do not forget the level before. With `SignalToNoise()` it is the
    corrector-only sampler of Score-SDE (Song et al. 2021, table 1, columns C).

    Args:
        steps: levels L.
        inner: moves a level, T.
        step_size: Annealed(2e-5) unless given, NCSN's for images in [0, 1].
        grid: of the levels; geometric in r unless given.
    """

    def __init__(self, steps: int = 10, inner: int = 100, step_size: StepSize | None = None, grid: Grid | None = None):
        super().__init__(steps, grid or LogSNR())
        self.move = Langevin(step_size or Annealed(), inner)

    @property
    def nfe(self) -> int:
        return self.steps * self.move.moves + 1

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        x_t = self.move(mean, x_t, t, noise)
        if s == 0:
            return mean(x_t, t)
        return (schedule(s)[0] / schedule(t)[0]).to(x_t) * x_t


class ConsistentAnnealed(Sampler):
    """Consistent annealed sampling (Jolicoeur-Martineau et al. 2021, algorithm 2): one call of the denoiser a level.

    y_s = (1 - eta) y + eta D + b r_s z,   b^2 = 1 - (1 - eta)^2 (r_t / r_s)^2,

    where eta r_t^2 times the score of y is eta (D - y). For data that are one point the noise left is exactly r_s z.
    eta = 1 jumps to the mean and adds fresh noise; with eta = 1 - r_s / r_t, b = 0, a step is DDIM's. The last step
    gives the mean.

    Args:
        steps: levels.
        eta: in (0, 1], eps / sigma_L^2 of the paper; at least 1 - r_s / r_t for every step.
        grid: of the levels; geometric in r unless given, so that r_t / r_s is the same for all.
    """

    def __init__(self, steps: int = 232, eta: float = 0.18, grid: Grid | None = None):
        super().__init__(steps, grid or LogSNR())
        if not 0 < eta <= 1:
            raise UserError(f"eta: {eta} is not in (0, 1]")
        self.eta = eta

    def step(
        self, schedule: Schedule, mean: Mean, x_t: Batch, t: Tensor, s: Tensor, noise: Randomness, past: Past
    ) -> Batch:
        estimate = mean(x_t, t)
        if s == 0:
            return estimate
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        kept = (1 - self.eta) * sigma_t * alpha_s / (alpha_t * sigma_s)
        if kept > 1 + 1e-9:
            raise UserError(
                f"eta: {self.eta} is too small for the step from t = {t.item():.4g} to {s.item():.4g}, which needs "
                f"{1 - (1 - self.eta) / kept.item():.4g} or more; raise eta, or take more levels"
            )
        fresh = sigma_s * (1 - kept.square()).clamp_min(0).sqrt()
        moved = ((1 - self.eta) * alpha_s / alpha_t).to(x_t) * x_t + (self.eta * alpha_s).to(x_t) * estimate
        return moved + fresh.to(x_t) * noise.normal(*x_t.shape[1:], dtype=x_t.dtype)
