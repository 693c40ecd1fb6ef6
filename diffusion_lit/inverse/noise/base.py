"""The contract of noises: p(y | A x), its samples, and the Gaussian that stands for it where a method needs one.

A noise knows nothing of masks: `log_likelihood`, `whiten` and the like see the measured entries only, as flat vectors
(B, d_y); `restrict` says what becomes of numbers that differ from entry to entry.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness

__all__ = ["Gaussian", "Noise", "Values"]

Values = Float[Tensor, "batch d_y"]


class Noise(nn.Module, ABC):
    """p(y | A x); a subclass writes `log_likelihood` and `sample`, and `gaussian` if a Gaussian can stand for it."""

    @abstractmethod
    def log_likelihood(self, y: Float[Tensor, "batch_or_1 d_y"], ax: Values) -> Float[Tensor, " batch"]:
        """log p(y | A x) of the measured entries; y has one row, or as many as A x."""

    @abstractmethod
    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        """Draw y given A x, one for each stream of numbers."""

    def gaussian(self, ax: Values) -> "Gaussian":
        """Return the Gaussian with the mean and the variance of y given A x.

        Raises:
            UserError: there is none.
        """
        raise UserError(f"{type(self).__name__} has no Gaussian approximation; {_MEND}")

    def restrict(self, y_shape: tuple[int, ...], observed: Bool[Tensor, "*y_shape"] | None) -> "Noise":
        """Return the noise of the measured entries as flat vectors.

        Raises:
            UserError: this noise is for y of another shape.
        """
        return self

    def check(self, y: Values) -> None:
        """Raise a UserError if these y cannot be."""

    @property
    def variance(self) -> float:
        """The one variance of all entries, as methods use it.

        Raises:
            UserError: there is not one.
        """
        raise UserError(
            f"{type(self).__name__} has not one variance for all entries, which this method needs; choose a method "
            f"that asks the measurement (mmps, dps), or give GaussianNoise(sigma)"
        )

    def covariance(self, d_y: int) -> Float64[Tensor, "d_y d_y"]:
        """The covariance of d_y measured entries.

        Raises:
            UserError: the noise is not Gaussian.
        """
        raise UserError(f"{type(self).__name__} is not Gaussian, so there is no closed form; {_MEND}")


_MEND = "use GaussianNoise, DiagonalNoise or CorrelatedNoise, or a method that needs the likelihood alone (dps)"


class Gaussian(Noise):
    """n ~ N(0, Sigma) by its symmetric root: a subclass writes `whiten`, `multiply` and `log_determinant`."""

    @abstractmethod
    def whiten(self, residual: Values) -> Values:
        """Sigma^-1/2 r, symmetric in r.

        Raises:
            UserError: Sigma is singular.
        """

    @abstractmethod
    def multiply(self, z: Values) -> Values:
        """Sigma z."""

    @abstractmethod
    def log_determinant(self, d_y: int) -> Float[Tensor, "*batch"] | float:
        """log det Sigma of d_y entries."""

    def covariance(self, d_y: int) -> Float64[Tensor, "d_y d_y"]:
        return self.multiply(torch.eye(d_y, dtype=torch.float64))

    def log_likelihood(self, y: Float[Tensor, "batch_or_1 d_y"], ax: Values) -> Float[Tensor, " batch"]:
        """log N(y; A x, Sigma)."""
        white = self.whiten(y - ax)
        d_y = white.shape[1]
        return -(white.square().sum(1) + self.log_determinant(d_y) + d_y * math.log(2 * math.pi)) / 2

    def gaussian(self, ax: Values) -> "Gaussian":
        return self
