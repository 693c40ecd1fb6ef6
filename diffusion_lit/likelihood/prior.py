"""The law of x_t at t = 1, where a likelihood ends."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.denoise import Batch

__all__ = ["GaussianPrior", "Prior"]


@runtime_checkable
class Prior(Protocol):
    """What a likelihood needs of a prior: log p(x_t) in nats (B,) of x_t (B, *), at the time of alpha, sigma ()."""

    def log_prob(self, x: Batch, alpha: Float[Tensor, ""], sigma: Float[Tensor, ""]) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True, eq=False)
class GaussianPrior:
    """x_t ~ N(alpha_t mean, alpha_t^2 variance + sigma_t^2), pixel by pixel.

    With the defaults it is N(0, sigma_t^2), what samplers start from (Song et al. 2021, appendix D.2). With the mean
    and variance of the data it takes out what a finite sigma_1 / alpha_1 leaves of them.

    Args:
        mean: number or (*event), of x_0.
        variance: number or (*event) >= 0, of x_0.
    """

    mean: float | Tensor = 0.0
    variance: float | Tensor = 0.0

    def _moments(self, like: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = (torch.as_tensor(m).to(like).expand(like.shape[1:]) for m in (self.mean, self.variance))
        return alpha * mean, alpha**2 * variance + sigma**2

    def log_prob(self, x: Batch, alpha: Float[Tensor, ""], sigma: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
        """log p(x_t) in nats of x_t (B, *) at the time of alpha, sigma ()."""
        mean, variance = self._moments(x, alpha, sigma)
        return -((x - mean) ** 2 / variance + (2 * math.pi * variance).log()).flatten(1).sum(1) / 2

    def divergence_from(
        self, x_0: Batch, alpha: Float[Tensor, ""], sigma: Float[Tensor, ""]
    ) -> Float[Tensor, " batch"]:
        """KL(q(x_t | x_0) || p(x_t)) in nats for x_0 (B, *): the prior term of a variational bound."""
        mean, variance = self._moments(x_0, alpha, sigma)
        spread = sigma**2 / variance
        return ((alpha * x_0 - mean) ** 2 / variance + spread - 1 - spread.log()).flatten(1).sum(1) / 2
