"""Laplace noise: heavier tails than a Gaussian's."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.noise.base import Gaussian, Noise, Values
from diffusion_lit.inverse.noise.gaussian import GaussianNoise
from diffusion_lit.randomness import Randomness

__all__ = ["LaplaceNoise"]


class LaplaceNoise(Noise):
    """Each entry of n has the density exp(-|n| / scale) / (2 scale); its variance is 2 scale^2.

    Args:
        scale: the mean of |n|, > 0, in the units of y.

    Raises:
        UserError: the scale is not above 0.
    """

    def __init__(self, scale: float):
        super().__init__()
        if not 0 < scale < math.inf:
            raise UserError(f"scale: {scale}; the mean of |n| is a number > 0 in the units of y")
        self.scale = float(scale)

    def log_likelihood(self, y: Float[Tensor, "batch_or_1 d_y"], ax: Values) -> Float[Tensor, " batch"]:
        distance = (y - ax).abs()
        return -distance.sum(1) / self.scale - distance.shape[1] * math.log(2 * self.scale)

    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        u = noise.uniform(*ax.shape[1:]) - 0.5
        return ax - (self.scale * u.sign() * torch.log1p(-2 * u.abs())).to(ax)

    @property
    def variance(self) -> float:
        """2 scale^2, of the Gaussian that stands for it."""
        return 2 * self.scale**2

    def gaussian(self, ax: Values) -> Gaussian:
        """The Gaussian of the same variance, whose tails are lighter."""
        return GaussianNoise(math.sqrt(self.variance))
