"""How long a Langevin move is: h of x + h grad log p + sqrt(2h) z, at a time t."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.noise import Schedule

__all__ = ["Annealed", "Constant", "Relative", "SignalToNoise", "StepSize"]


@runtime_checkable
class StepSize(Protocol):
    """h of a move at time t, () or (B,), in units of x_t squared, given the score and the noise z of the move."""

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor: ...


@dataclass(frozen=True)
class Constant:
    """The same h > 0 everywhere."""

    h: float

    def __post_init__(self):
        _positive("h", self.h)

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor:
        return torch.full_like(t, self.h)


@dataclass(frozen=True)
class Annealed:
    """NCSN's h_i = eps r_i^2 / r_L^2 in y = x / alpha, r_L the level at t_min (Song & Ermon 2019, algorithm 1).

    The paper writes alpha_i / 2 for h; its released code, and its follow-up (2020), have h = alpha_i, as here.

    Args:
        eps: h at the last level, > 0, in units of the data squared.
    """

    eps: float = 2e-5

    def __post_init__(self):
        _positive("eps", self.eps)

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor:
        last = torch.full_like(t, schedule.t_min)
        # h in x is alpha^2 times h in y, and alpha^2 r^2 = sigma^2
        return self.eps * schedule(t)[1].square() * schedule.log_snr(last).exp()


@dataclass(frozen=True)
class SignalToNoise:
    """h = 2 (r |z| / |score|)^2 (Song et al. 2021, Score-SDE, algorithm 4).

    The norms are each sample's own; the released code takes their means over the batch, so that its samples depend on
    their neighbours, and multiplies h by one step's 1 - beta where the schedule is variance-preserving. In few
    dimensions some samples have hardly any score, and are thrown far: there, take `Relative`.

    Args:
        r: the signal-to-noise ratio of a move, > 0.
    """

    r: float = 0.16

    def __post_init__(self):
        _positive("r", self.r)

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor:
        norm_z, norm_score = (v.flatten(1).double().norm(dim=1) for v in (z, score))
        return 2 * (self.r * norm_z / norm_score.clamp_min(1e-12)).square()


@dataclass(frozen=True)
class Relative:
    """h = 2 (r sigma_t)^2: SignalToNoise where |score| is |z| / sigma_t, as it is in law if the noise can be told.

    Never too long, since log p_t curves by 1 / sigma_t^2 at most; short where the data are smooth at the scale sigma_t.

    Args:
        r: as there, > 0.
    """

    r: float = 0.16

    def __post_init__(self):
        _positive("r", self.r)

    def __call__(self, schedule: Schedule, t: Tensor, score: Batch, z: Batch) -> Tensor:
        return 2 * (self.r * schedule(t)[1]).square()


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UserError(f"{name}: {value}; a Langevin move needs a positive number")
