"""The signals and the laws of their jumps."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.randomness import Randomness

__all__ = ["Levy", "ScaleMixture", "bernoulli_laplace", "gaussian", "laplace", "student_t"]


class ScaleMixture:
    """The law sum_k w_k N(0, v_k) of a number.

    Args:
        weights: (K,) > 0; normalised here.
        variances: (K,) > 0.
    """

    def __init__(self, weights: Float[Tensor, " components"], variances: Float[Tensor, " components"]):
        if float(weights.min()) <= 0 or float(variances.min()) <= 0:
            raise ValueError(f"weights and variances are > 0, not {float(weights.min())} and {float(variances.min())}")
        self.weights, self.variances = weights.double() / weights.double().sum(), variances.double()

    @property
    def variance(self) -> float:
        """Of the whole."""
        return float(self.weights @ self.variances)

    def unit(self) -> "ScaleMixture":
        """The same law, scaled to variance 1."""
        return ScaleMixture(self.weights, self.variances / self.variance)

    def draw(self, noise: Randomness, size: int) -> Float64[Tensor, "batch size"]:
        """Draw `size` numbers a stream."""
        edges = self.weights.cumsum(0)[:-1].contiguous()
        component = torch.searchsorted(edges, noise.uniform(size))
        return self.variances[component].sqrt() * noise.normal(size, dtype=torch.float64)

    def log_prob(self, u: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """log p(u) of each number."""
        v = self.variances
        logits = self.weights.log() - (2 * math.pi * v).log() / 2 - u.double()[..., None].square() / (2 * v)
        return logits.logsumexp(-1)


def gaussian(variance: float = 0.25) -> ScaleMixture:
    """N(0, variance)."""
    return ScaleMixture(torch.ones(1), torch.tensor([variance]))


def laplace(b: float = 1.0) -> ScaleMixture:
    """exp(-|u| / b) / (2 b): v is exponential with mean 2 b^2.

    26 nodes, a factor exp(.5) apart; the trapezium rule in log v is exact to 1e-4 for |u| > .05 b.
    """
    v = torch.linspace(-9.0, 3.5, 26, dtype=torch.float64).exp()
    weights = v * (-v).exp()
    # all that lies below the first node belongs to it
    weights[0] = weights[0] / 2 - torch.expm1(-v[0]) / 0.5
    return ScaleMixture(weights, 2 * b**2 * v)


def student_t(df: float = 3.0) -> ScaleMixture:
    """Student's t: v is inverse gamma, p(v) ~ v^(-df / 2 - 1) exp(-df / (2 v)); 31 nodes."""
    v = torch.linspace(-3.0, 12.0, 31, dtype=torch.float64).exp()
    return ScaleMixture(v ** (-df / 2) * (-df / (2 * v)).exp(), v)


def bernoulli_laplace(probability: float = 0.1, b: float = 1.0, spike: float = 0.02) -> ScaleMixture:
    """Laplace jumps with this probability, else none: N(0, spike^2), so that the law has a density."""
    slab = laplace(b)
    weights = torch.cat((torch.tensor([1 - probability], dtype=torch.float64), probability * slab.weights))
    return ScaleMixture(weights, torch.cat((torch.tensor([spike**2], dtype=torch.float64), slab.variances)))


class Levy:
    """Signals x = c cumsum(u) with c such that the mean variance of an entry is 1; a toy of `length` dimensions.

    Args:
        law: of the jumps.
        length: of a signal.

    Attributes:
        matrix: (length, length), from jumps of variance 1 to signals.
    """

    def __init__(self, law: ScaleMixture, length: int = 64):
        self.law, self.size = law.unit(), length
        ones = torch.ones(length, length, dtype=torch.float64)
        self.matrix = ones.tril() / math.sqrt((length + 1) / 2)

    def draw(self, noise: Randomness) -> Float64[Tensor, "batch d"]:
        """Draw one signal a stream, (B, length)."""
        return self.law.draw(noise, self.size) @ self.matrix.mT

    def jumps(self, x: Float[Tensor, "*batch d"]) -> Float64[Tensor, "*batch d"]:
        """The jumps, of variance 1, of signals."""
        return torch.diff(x.double() / self.matrix[0, 0], prepend=torch.zeros_like(x[..., :1]).double())

    def log_prob(self, x: Float[Tensor, "*batch d"]) -> Float64[Tensor, "*batch"]:
        """log p(x) of signals (*B, length) in nats."""
        return self.law.log_prob(self.jumps(x)).sum(-1) - self.size * self.matrix[0, 0].log()
