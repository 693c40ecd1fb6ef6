"""Weightings: w(schedule, t) of the squared error of E[x_0 | x_t]; each makes it another prediction's error."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.noise import Schedule
from diffusion_lit.objectives.times import Density

__all__ = [
    "EDMWeighting",
    "EpsWeighting",
    "ImportanceWeighting",
    "LikelihoodWeighting",
    "MinSNRWeighting",
    "VWeighting",
    "Weighting",
    "X0Weighting",
]

Times = Float[Tensor, "*times"]


@runtime_checkable
class Weighting(Protocol):
    """What an objective needs of a weighting: one weight for each time in (0, 1]."""

    def __call__(self, schedule: Schedule, t: Times) -> Times: ...


def _snr(schedule: Schedule, t: Times) -> Times:
    alpha, sigma = schedule(t)
    return (alpha / sigma) ** 2


@dataclass(frozen=True)
class X0Weighting:
    """The error of x_0 itself: w = 1."""

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return torch.ones_like(t)


@dataclass(frozen=True)
class EpsWeighting:
    """The error of eps, DDPM's L_simple: w = alpha^2 / sigma^2 (Ho et al. 2020, eq. 14)."""

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return _snr(schedule, t)


@dataclass(frozen=True)
class VWeighting:
    """The error of v, "SNR + 1": w = (alpha^2 + sigma^2) / sigma^2 (Salimans & Ho 2022, section 4)."""

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return _snr(schedule, t) + 1


@dataclass(frozen=True)
class EDMWeighting:
    """1 / c_out^2: the error of EDM's network output; a network of zeros has loss 1 on N(0, sigma_data^2) data.

    w = (r^2 + sigma_data^2) / (r sigma_data)^2 with r = sigma / alpha (Karras et al. 2022, table 1).
    """

    sigma_data: float = 0.5

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return _snr(schedule, t) + 1 / self.sigma_data**2


@dataclass(frozen=True)
class MinSNRWeighting:
    """min(SNR, gamma): the error of eps in much noise, gamma times that of x_0 in little (Hang et al. 2023)."""

    gamma: float = 5.0

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return _snr(schedule, t).clamp(max=self.gamma)


@dataclass(frozen=True)
class LikelihoodWeighting:
    """The error of the score, times g^2 / 2: its integral over t bounds the likelihood (Song et al. 2021, ScoreFlow).

    w = g^2 alpha^2 / (2 sigma^4) = -1/2 dSNR/dt, in nats per unit of t (their theorem 1; Kingma et al. 2021, VDM).
    """

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        _, sigma = schedule(t)
        return schedule.diffusion_squared(t) * _snr(schedule, t) / (2 * sigma**2)


@dataclass(frozen=True)
class ImportanceWeighting:
    """w(t) / p(t): with t drawn from p, the loss estimates the integral of w(t) error(t) dt, whatever p is.

    `ImportanceWeighting(LikelihoodWeighting(), times)` is the normalised bound on the negative log-likelihood, up to
    what does not depend on the denoiser. Its variance is small for `times=LogSNRUniform(t_min)`, whose density is
    g^2 / (sigma^2 Z) (Song et al. 2021, ScoreFlow, section 5.1): the quotient is then Z / 2 times the weight of eps.

    Args:
        weighting: w.
        times: the law p of t, the same that the objective draws from.
    """

    weighting: Weighting
    times: Density

    def __call__(self, schedule: Schedule, t: Times) -> Times:
        return self.weighting(schedule, t) / self.times.density(t, schedule)
