"""Weightings: w(alpha_t, sigma_t) of the squared error of E[x_0 | x_t]; each makes it another prediction's error."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["EDMWeighting", "EpsWeighting", "VWeighting", "Weighting", "X0Weighting"]

Weights = Float[Tensor, "*times"]


@runtime_checkable
class Weighting(Protocol):
    """What an objective needs of a weighting."""

    def __call__(self, alpha: Weights, sigma: Weights) -> Weights: ...


@dataclass(frozen=True)
class X0Weighting:
    """The error of x_0 itself: w = 1."""

    def __call__(self, alpha: Weights, sigma: Weights) -> Weights:
        return torch.ones_like(alpha)


@dataclass(frozen=True)
class EpsWeighting:
    """The error of eps, DDPM's L_simple: w = alpha^2 / sigma^2 (Ho et al. 2020, eq. 14)."""

    def __call__(self, alpha: Weights, sigma: Weights) -> Weights:
        return (alpha / sigma) ** 2


@dataclass(frozen=True)
class VWeighting:
    """The error of v, "SNR + 1": w = (alpha^2 + sigma^2) / sigma^2 (Salimans & Ho 2022, section 4)."""

    def __call__(self, alpha: Weights, sigma: Weights) -> Weights:
        return (alpha / sigma) ** 2 + 1


@dataclass(frozen=True)
class EDMWeighting:
    """1 / c_out^2: the error of EDM's network output; a network of zeros has loss 1 on N(0, sigma_data^2) data.

    w = (r^2 + sigma_data^2) / (r sigma_data)^2 with r = sigma / alpha (Karras et al. 2022, table 1).
    """

    sigma_data: float = 0.5

    def __call__(self, alpha: Weights, sigma: Weights) -> Weights:
        return (alpha / sigma) ** 2 + 1 / self.sigma_data**2
