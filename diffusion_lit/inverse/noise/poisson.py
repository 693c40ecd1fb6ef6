"""Poisson noise: counts of photons."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.noise.base import Gaussian, Noise, Values
from diffusion_lit.inverse.noise.gaussian import DiagonalNoise
from diffusion_lit.randomness import Randomness

__all__ = ["PoissonNoise"]


class PoissonNoise(Noise):
    """Photon counts: gain (y + offset) ~ Poisson(gain (A x + offset)), y in the units of A x.

    A rate below `floor` counts as `floor`, there the likelihood is flat: a network's image may be darker than black.

    Args:
        gain: counts per unit of y, > 0; a pixel of value v gives gain (v + offset) counts on average.
        offset: what is added before counting: 0 for intensities, 1 for images in [-1, 1], whose black is -1. With it
            `gain` is half of the count of a white pixel.
        floor: the least rate, in counts.

    Raises:
        UserError: the gain or the floor is not above 0.
    """

    def __init__(self, gain: int | float, offset: int | float = 0.0, floor: float = 1e-3):
        super().__init__()
        if not (0 < gain < math.inf and floor > 0 and math.isfinite(offset)):
            raise UserError(f"gain {gain}, offset {offset}, floor {floor}: give a gain and a floor > 0, in counts")
        self.gain, self.offset, self.floor = float(gain), float(offset), float(floor)

    def _rate(self, ax: Tensor) -> Tensor:
        return (self.gain * (ax + self.offset)).clamp_min(self.floor)

    def check(self, y: Values) -> None:
        if bool((y < -self.offset - 1e-6 * (1 + abs(self.offset))).any()):
            raise UserError(
                f"y: its least entry is {float(y.min()):.4g}, but Poisson noise with offset {self.offset:g} gives "
                f"nothing below {-self.offset:g}; check the units of y (images in [-1, 1] take offset=1)"
            )

    def log_likelihood(self, y: Float[Tensor, "batch_or_1 d_y"], ax: Values) -> Float[Tensor, " batch"]:
        """The log of the probability of the counts, k log rate - rate - log k!, k taken as real."""
        count, rate = (self.gain * (y + self.offset)).clamp_min(0), self._rate(ax)
        return (torch.xlogy(count, rate) - rate - torch.lgamma(count + 1)).sum(1)

    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        from scipy.stats import poisson  # half a second to import

        rate = (self.gain * (ax.double() + self.offset)).clamp_min(0)
        uniform = noise.uniform(*ax.shape[1:])
        counts = torch.from_numpy(poisson.ppf(uniform.cpu().numpy(), rate.detach().cpu().numpy())).to(ax.device)
        return (counts.clamp_min(0) / self.gain - self.offset).to(ax)

    def gaussian(self, ax: Values) -> Gaussian:
        """Variance = rate, in counts; of at least one count, since less would trust dark pixels without end."""
        return DiagonalNoise(self._rate(ax).clamp_min(1).sqrt() / self.gain)
