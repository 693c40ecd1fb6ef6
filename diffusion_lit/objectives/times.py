"""Time samplers: the quantile function of the law of t, so that evenly spread uniforms give evenly spread times."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.noise import Schedule

__all__ = ["LogNormal", "LogSNRUniform", "TimeSampler", "UniformTime"]

Batch = Float[Tensor, " batch"]


@runtime_checkable
class TimeSampler(Protocol):
    """What an objective needs of a time sampler: u (B,) in (0, 1) -> t (B,) in (0, 1]."""

    def __call__(self, u: Batch, schedule: Schedule) -> Batch: ...


@dataclass(frozen=True)
class UniformTime:
    """t uniform in [t_min, 1] (Song et al. 2021, appendix C: t_min = 1e-5)."""

    t_min: float = 1e-5

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return self.t_min + (1 - self.t_min) * u


@dataclass(frozen=True)
class LogNormal:
    """log(sigma_t / alpha_t) ~ N(mean, std^2), clamped to the schedule's range (Karras et al. 2022, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        return schedule.time(-2 * (self.mean + self.std * torch.special.ndtri(u)))


@dataclass(frozen=True)
class LogSNRUniform:
    """log-SNR uniform between its values at t = 1 and at t_min."""

    t_min: float = 1e-3

    def __call__(self, u: Batch, schedule: Schedule) -> Batch:
        low, high = schedule.log_snr(torch.tensor([1.0, self.t_min], dtype=torch.float64)).tolist()
        return schedule.time(high - (high - low) * u)
