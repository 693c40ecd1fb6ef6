"""Tweedie's formula for an exponential family y ~ exp(eta y - psi(eta)) f_0(y).

With l = log p(y), the log density of the noisy data alone, E[eta | y] = l'(y) - (log f_0)'(y) (Efron 2011, eq. 2.6).
An estimate of the parameter x behind eta follows by the map eta -> x (Kim & Ye 2021, Noise2Score, table 1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ExponentialFamily", "robbins"]

Values = Float[Tensor, "*values"]


@dataclass(frozen=True)
class ExponentialFamily:
    """Estimates x from y and the score l'(y) of the noisy data: `family(y, score)`.

    Args:
        base_score: y -> (log f_0)'(y).
        parameter: eta -> x.
    """

    base_score: Callable[[Values], Values]
    parameter: Callable[[Values], Values]

    def natural(self, y: Values, score: Values) -> Values:
        """E[eta | y]."""
        return score - self.base_score(y)

    def __call__(self, y: Values, score: Values) -> Values:
        """x at eta = E[eta | y]: E[x | y] where the map is affine, otherwise as the instance says."""
        return self.parameter(self.natural(y, score))

    @classmethod
    def gaussian(cls, sigma: float) -> "ExponentialFamily":
        """y ~ N(x, sigma^2): y + sigma^2 l'(y) = E[x | y]."""
        return cls(lambda y: -y / sigma**2, lambda eta: sigma**2 * eta)

    @classmethod
    def poisson(cls, gain: float = 1.0) -> "ExponentialFamily":
        """y = gain * k, k ~ Poisson(x / gain): (y + gain / 2) exp(gain l'(y)), for a smooth l through the counts.

        An approximation, in two ways. psi(k + 1) is taken as log(k + 1/2), off by 1 / (24 k^2). And eta is log x, so
        that this is exp(E[log x | y]), below E[x | y]: for x ~ Gamma(a, rate b) and gain 1 it gives
        (y - 1/2 + a) / (b + 1), too low by 1/2 / (b + 1). `robbins` has neither fault.
        """
        return cls(lambda y: -(y / gain + 0.5).log() / gain, lambda eta: gain * (gain * eta).exp())

    @classmethod
    def gamma(cls, shape: float) -> "ExponentialFamily":
        """y = x n, n ~ Gamma(shape, rate shape): shape y / (shape - 1 - y l'(y)) = 1 / E[1 / x | y].

        Here eta = -shape / x, so this is the harmonic posterior mean, which is below E[x | y].
        """
        return cls(lambda y: (shape - 1) / y, lambda eta: -shape / eta)


def robbins(pmf: Float[Tensor, " counts"]) -> Float[Tensor, " counts_less_1"]:
    """E[lambda | y] = (y + 1) p(y + 1) / p(y) for y ~ Poisson(lambda) and any law of lambda (Robbins 1956).

    Args:
        pmf: (K,) p(0), ..., p(K - 1) of the noisy counts, or their empirical frequencies.

    Returns:
        (K - 1,): the means at y = 0, ..., K - 2.
    """
    return torch.arange(1, len(pmf)).to(pmf) * pmf[1:] / pmf[:-1]
