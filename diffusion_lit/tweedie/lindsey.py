"""Lindsey's method: a smooth log density from a sample, by Poisson regression on its histogram (Efron 2011, section 3).

The counts of the bins are taken as Poisson with log mean B(x) beta, B a basis at the centres x of the bins. The log
density B(z) beta is differentiable in z, so its slope goes straight into Tweedie's formula.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError

__all__ = ["Basis", "Lindsey", "NaturalSpline", "Polynomial"]

Values = Float[Tensor, " values"]


@runtime_checkable
class Basis(Protocol):
    """What the regression needs of a basis: u (n,), which is in [0, 1] on the sample, -> (n, df + 1), 1 among them."""

    @property
    def df(self) -> int: ...

    def __call__(self, u: Values) -> Float[Tensor, "values functions"]: ...


@dataclass(frozen=True)
class Polynomial:
    """1, u, ..., u^df: Efron's exponential family of degree J (Efron 2011, eq. 3.1), in Chebyshev's basis."""

    df: int = 5

    def __call__(self, u: Values) -> Float[Tensor, "values functions"]:
        v, columns = 2 * u - 1, [torch.ones_like(u), 2 * u - 1]
        for _ in range(self.df - 1):
            columns.append(2 * v * columns[-1] - columns[-2])
        return torch.stack(columns[: self.df + 1], dim=1)


@dataclass(frozen=True)
class NaturalSpline:
    """Cubic splines that are straight lines beyond the ends, with df + 1 knots evenly spread over the sample's range.

    Hastie, Tibshirani & Friedman 2009, eq. 5.4 and 5.5. Slopes that stay constant in the tails are what keeps the
    estimates of the largest z steady.
    """

    df: int = 5

    def __call__(self, u: Values) -> Float[Tensor, "values functions"]:
        knots = torch.linspace(0, 1, self.df + 1).to(u)
        cubes = (u[:, None] - knots).clamp_min(0) ** 3
        chords = (cubes[:, :-1] - cubes[:, -1:]) / (knots[-1] - knots[:-1])
        return torch.cat([torch.ones_like(u)[:, None], u[:, None], chords[:, :-1] - chords[:, -1:]], dim=1)


class Lindsey:
    """A log density fitted to a sample.

    Args:
        sample: (n,) numbers.
        basis: of the log density; a natural spline of five degrees of freedom unless given.
        bins: number of bins of equal width over the sample's range.

    Raises:
        UserError: the sample is not finite or has no spread, or the basis has too many functions for the bins.
    """

    def __init__(self, sample: Values, basis: Basis | None = None, bins: int = 60):
        self.basis = basis or NaturalSpline()
        sample = sample.double()
        self.low, self.high = sample.min().item(), sample.max().item()
        if not 0 < self.high - self.low < math.inf:
            raise UserError(f"sample: its range is {self.low}..{self.high}; a density needs finite, differing numbers")
        if self.basis.df >= bins:
            raise UserError(f"bins: {bins} for {self.basis.df} degrees of freedom; take more bins or a smaller df")
        width = (self.high - self.low) / bins
        counts, edges = torch.histogram(sample, bins=bins)
        design = self.basis(self._unit((edges[1:] + edges[:-1]) / 2))
        self.beta = _poisson_regression(design, counts)
        self.beta[0] -= math.log(len(sample) * width)  # the first function is 1: counts -> density

    def _unit(self, z: Values) -> Values:
        return (z - self.low) / (self.high - self.low)

    def log_density(self, z: Values) -> Values:
        """l(z) = log p(z) at z (n,), in float64."""
        return self.basis(self._unit(z.double())) @ self.beta

    def score(self, z: Values) -> Values:
        """l'(z) at z (n,), in float64."""
        z = z.double()
        return torch.func.jvp(self.log_density, (z,), (torch.ones_like(z),))[1]


def _poisson_regression(design: Tensor, counts: Tensor) -> Tensor:
    """The maximum-likelihood beta of counts ~ Poisson(exp(design beta)), by Newton's method (it is concave)."""
    # one step of least squares on log counts as the start; empty bins are lifted, they only set the start
    beta = torch.linalg.lstsq(design, (counts + 0.5).log()[:, None]).solution[:, 0]

    def likelihood(beta: Tensor) -> Tensor:
        return counts @ (design @ beta) - (design @ beta).exp().sum()

    for _ in range(100):
        mean = (design @ beta).exp()
        gradient = design.mT @ (counts - mean)
        step = torch.linalg.solve(design.mT @ (mean[:, None] * design), gradient)
        if (step @ gradient) < 1e-12:  # twice what the quadratic model still hopes to gain, in nats
            break
        size = 1.0
        while likelihood(beta + size * step) < likelihood(beta) and size > 1e-6:
            size /= 2
        beta = beta + size * step
    return beta
