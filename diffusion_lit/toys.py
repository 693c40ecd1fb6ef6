"""Distributions in few dimensions whose densities are known: what a method is tried on before images.

A toy draws from a stream of random numbers, so that sample i depends on (seed, id_i) only, and tells its log density.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.analytic import GaussianMixtureDenoiser
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness

__all__ = ["Checkerboard", "Mixture", "Source", "Toy", "gaussian", "grid", "moons", "ring"]

Points = Float64[Tensor, "batch d"]


@runtime_checkable
class Source(Protocol):
    """What training needs of a distribution on R^d: fresh samples, one a stream."""

    size: int

    def draw(self, noise: Randomness) -> Points: ...


@runtime_checkable
class Toy(Source, Protocol):
    """A source whose density is known, for evaluation."""

    def log_prob(self, x: Float[Tensor, "batch d"]) -> Float64[Tensor, " batch"]: ...


class Mixture:
    """Equal parts of N(m_k, std^2 I); its denoiser is known for every schedule.

    Args:
        means: (K, d).
        std: of each component, > 0.
    """

    def __init__(self, means: Float[Tensor, "components d"], std: float):
        if std <= 0:
            raise ValueError(f"std: {std} <= 0; a density needs a positive width")
        self.means, self.std = means.double(), std
        self.size = means.shape[1]

    def draw(self, noise: Randomness) -> Points:
        """Draw one point a stream, (B, d)."""
        component = (noise.uniform() * len(self.means)).long().clamp_max(len(self.means) - 1)
        return self.means[component] + self.std * noise.normal(self.size, dtype=torch.float64)

    def log_prob(self, x: Float[Tensor, "batch d"]) -> Float64[Tensor, " batch"]:
        """log p(x) in nats, (B,)."""
        square = torch.cdist(x.double(), self.means, compute_mode="donot_use_mm_for_euclid_dist").square()
        log_normal = -square / (2 * self.std**2) - self.size * math.log(2 * math.pi * self.std**2) / 2
        return log_normal.logsumexp(1) - math.log(len(self.means))

    def exact(self, schedule: Schedule) -> GaussianMixtureDenoiser:
        """The exact denoiser of this toy."""
        count = len(self.means)
        variance = torch.full((count,), self.std**2, dtype=torch.float64)
        return GaussianMixtureDenoiser(torch.ones(count), self.means, variance, schedule)


def gaussian(size: int, std: float = 1.0) -> Mixture:
    """N(0, std^2 I) in `size` dimensions."""
    return Mixture(torch.zeros(1, size), std)


def ring(modes: int = 8, radius: float = 2.0, std: float = 0.2) -> Mixture:
    """Gaussians evenly spread over a circle; the 8-ring's entropy is 1.697 nats."""
    angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return Mixture(radius * torch.stack((angle.cos(), angle.sin()), 1), std)


def grid(side: int = 5, spacing: float = 1.0, std: float = 0.1) -> Mixture:
    """Gaussians on a centred square grid; the 5 x 5 grid's entropy is 1.450 nats."""
    line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return Mixture(torch.cartesian_prod(line, line), std)


def moons(std: float = 0.1) -> Mixture:
    """Two half circles, each blurred by N(0, std^2 I): the law that scikit-learn's make_moons draws from.

    256 components a moon: their distance, pi / 256, is so small against std >= 0.03 that their sum is the integral over
    the arc to rounding (the trapezium rule on a smooth function, but for the two ends of each arc).
    """
    angle = math.pi * (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    outer = torch.stack((angle.cos(), angle.sin()), 1)
    inner = torch.stack((1 - angle.cos(), 0.5 - angle.sin()), 1)
    return Mixture(torch.cat((outer, inner)), std)


class Checkerboard:
    """Uniform on the black squares of a 4 x 4 board over [-2, 2]^2: entropy log 8 = 2.0794 nats."""

    size = 2

    def draw(self, noise: Randomness) -> Points:
        """Draw one point a stream, (B, 2)."""
        x, y, row = noise.uniform(3).unbind(1)
        x = 4 * x - 2
        # of a column's four squares every second is black: the column's parity says which
        y = (x.floor() % 2) + 2 * (row * 2).floor() + y - 2
        return torch.stack((x, y), 1)

    def inside(self, x: Float[Tensor, "batch 2"]) -> Tensor:
        """Whether points lie on black squares, (B,) bool."""
        return (x.abs() < 2).all(1) & ((x.floor().sum(1) % 2) == 0)

    def log_prob(self, x: Float[Tensor, "batch 2"]) -> Float64[Tensor, " batch"]:
        """log p(x) in nats, (B,); minus infinity outside."""
        return torch.where(self.inside(x), -math.log(8.0), -math.inf).double()
