"""Grids: the sequence of times 1 = t_0 > ... > t_{N-1} = t_min > t_N = 0 that a sampler walks down.

A grid is any callable (schedule, steps) -> times (steps + 1,), float64; the last step always goes to the data.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule

__all__ = ["Grid", "Karras", "LogSNR", "Quadratic", "SignalShare", "Strided", "Uniform"]

Times = Float64[Tensor, " steps_plus_1"]


@runtime_checkable
class Grid(Protocol):
    """What a sampler needs of a grid."""

    def __call__(self, schedule: Schedule, steps: int) -> Times: ...


def _to_data(times: Float64[Tensor, " steps"]) -> Times:
    return torch.cat((times, times.new_zeros(1)))


def _ends(schedule: Schedule) -> Float64[Tensor, "2"]:
    return torch.tensor([1.0, schedule.t_min], dtype=torch.float64)


@dataclass(frozen=True)
class Uniform:
    """Equal steps in t; with a DiscreteVP of T steps and steps = T, DDPM's own chain."""

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        return _to_data(torch.linspace(1.0, schedule.t_min, steps, dtype=torch.float64))


@dataclass(frozen=True)
class Quadratic:
    """Equal steps in sqrt(t): finer towards the data (Song et al. 2021, DDIM, appendix D.2)."""

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        return _to_data(torch.linspace(1.0, schedule.t_min**0.5, steps, dtype=torch.float64).square())


@dataclass(frozen=True)
class Karras:
    """Equal steps in (sigma_t / alpha_t)^(1/rho) (Karras et al. 2022, eq. 5)."""

    rho: float = 7.0

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        first, last = (-schedule.log_snr(_ends(schedule)) / (2 * self.rho)).exp().tolist()
        warped = torch.linspace(first, last, steps, dtype=torch.float64)
        return _to_data(schedule.time(-2 * self.rho * warped.log()))


@dataclass(frozen=True)
class LogSNR:
    """Equal steps in log(alpha_t / sigma_t) (Lu et al. 2022)."""

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        first, last = schedule.log_snr(_ends(schedule)).tolist()
        return _to_data(schedule.time(torch.linspace(first, last, steps, dtype=torch.float64)))


@dataclass(frozen=True)
class SignalShare:
    """Equal steps 1 / N in u = alpha^2 / (alpha^2 + sigma^2), from t = 1, where u is nearly 0, to the data, u = 1."""

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        u = torch.arange(1, steps, dtype=torch.float64) / steps
        return _to_data(torch.cat((u.new_ones(1), schedule.time(u.logit()))))


@dataclass(frozen=True)
class Strided:
    """Every (T / N)-th time of a chain of T: t = (floor(i T / N) + 1) / T, i = 0..N-1 (DDIM's "linear", appendix D.2).

    The first time is below 1 unless N = T.

    Args:
        chain: T.
    """

    chain: int = 1000

    def __call__(self, schedule: Schedule, steps: int) -> Times:
        if steps > self.chain:
            raise UserError(f"steps: {steps} > {self.chain}, the length of the chain")
        index = torch.arange(steps, dtype=torch.float64).flip(0) * self.chain / steps
        return _to_data((index.floor() + 1) / self.chain)
