"""Time samplers: the quantile function of the law of t, so that evenly spread uniforms give evenly spread times."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.noise import Schedule

__all__ = ["Density", "DiscreteTime", "FixedTime", "Ladder", "LogNormal", "LogSNRUniform", "TimeSampler", "UniformTime"]

Batch = Float[Tensor, " batch"]
Times = Float[Tensor, "*times"]


@runtime_checkable
class TimeSampler(Protocol):
    """What an objective needs of a time sampler: u (B,) in (0, 1) -> t (B,) in (0, 1]."""

    def __call__(self, u: Batch, schedule: Schedule) -> Batch: ...


@runtime_checkable
class Density(Protocol):
    """What importance sampling needs of one: the density of t, per unit of t."""

    def density(self, t: Times, schedule: Schedule) -> Times: ...


@dataclass(frozen=True)
class FixedTime:
    """One noise level only, as in denoising score matching at a fixed sigma (Vincent 2011)."""

    t: float

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return torch.full_like(u, self.t)


@dataclass(frozen=True)
class UniformTime:
    """t uniform in [t_min, 1] (Song et al. 2021, appendix C: t_min = 1e-5)."""

    t_min: float = 1e-5

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return self.t_min + (1 - self.t_min) * u

    def density(self, t: Times, schedule: Schedule) -> Times:
        return torch.full_like(t, 1 / (1 - self.t_min))


@dataclass(frozen=True)
class DiscreteTime:
    """The steps of a chain, t = i / steps with i = 1..steps equally likely (Ho et al. 2020, algorithm 1)."""

    steps: int = 1000

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return (u * self.steps).ceil() / self.steps

    def density(self, t: Times, schedule: Schedule) -> Times:
        """Relative to equal chances: 1."""
        return torch.ones_like(t)

    def record(self, t: Batch, losses: Batch) -> None:
        """Losses do not change equal chances."""


@dataclass(frozen=True)
class Ladder:
    """Equally likely, equally spaced t from 0 to 1: of `VE(sigma_min, sigma_max)` the geometric levels of NCSN.

    The lowest level is asked at t = 1e-12, where VE's noise is sigma_min to rounding; at t = 0 a schedule is the data.

    Args:
        levels: L >= 2; 10 in Song & Ermon 2019, section 5.
    """

    levels: int = 10

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return ((u * self.levels).floor() / (self.levels - 1)).clamp(1e-12, 1)


@dataclass(frozen=True)
class LogNormal:
    """log(sigma_t / alpha_t) ~ N(mean, std^2), clamped to the schedule's range (Karras et al. 2022, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return schedule.time(-2 * (self.mean + self.std * torch.special.ndtri(u)))


@dataclass(frozen=True)
class LogSNRUniform:
    """log-SNR uniform between its values at t = 1 and at t_min.

    Its density -lambda'(t) / Z = g^2 / (sigma^2 Z), Z the range of lambda, is the one that ScoreFlow samples from to
    estimate the likelihood's bound (Song et al. 2021, section 5.1).
    """

    t_min: float = 1e-3

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        low, high = self._ends(schedule)
        return schedule.time(high - (high - low) * u)

    def density(self, t: Times, schedule: Schedule) -> Times:
        low, high = self._ends(schedule)
        _, sigma = schedule(t)
        return schedule.diffusion_squared(t) / (sigma.square() * (high - low))

    def _ends(self, schedule: Schedule) -> tuple[float, float]:
        low, high = schedule.log_snr(torch.tensor([1.0, self.t_min], dtype=torch.float64)).tolist()
        return low, high
