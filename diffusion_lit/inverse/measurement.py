"""A measurement: y = A(x) + n, what was seen, through which operator, with which noise."""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.randomness import Randomness

__all__ = ["GaussianNoise", "Measurement"]

_NOISE_STREAM = 0x79  # keeps the noise of sample i apart from the numbers that a method draws for (seed, i)


class GaussianNoise:
    """n ~ N(0, sigma^2 I) on the measured entries.

    Args:
        sigma: standard deviation >= 0 in the units of y (images live in [-1, 1], so there 0.05 is 2.5 % of the range).

    Raises:
        UserError: sigma is negative or not a number.
    """

    def __init__(self, sigma: float):
        if not 0 <= sigma < math.inf:
            raise UserError(f"sigma: {sigma} is not a standard deviation; give a number >= 0 in the units of y")
        self.sigma = float(sigma)

    @property
    def variance(self) -> float:
        return self.sigma**2

    def covariance(self, d_y: int) -> Float64[Tensor, "d_y d_y"]:
        return self.variance * torch.eye(d_y, dtype=torch.float64)

    def whiten(self, residual: Float[Tensor, "batch y_size"]) -> Float[Tensor, "batch y_size"]:
        """Divide by the standard deviation.

        Raises:
            UserError: sigma is 0.
        """
        if self.sigma == 0:
            raise UserError("sigma: 0 has no likelihood, only equality; give the noise a sigma > 0, however small")
        return residual / self.sigma

    def log_likelihood(self, residual: Float[Tensor, "batch y_size"]) -> Float[Tensor, " batch"]:
        """log N(residual; 0, sigma^2 I) of the measured entries."""
        white = self.whiten(residual)
        return -white.square().sum(1) / 2 - residual.shape[1] * math.log(self.sigma * math.sqrt(2 * math.pi))

    def sample(self, like: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        return self.sigma * noise.normal(*like.shape[1:], dtype=like.dtype)


class Measurement:
    """y = A(x) + n.

    Args:
        y: (*y_shape), one measurement, or (B, *y_shape), one for each image; what the operator hides is set to 0.
        operator: A.
        noise: of n.

    Attributes:
        batched: whether y has a batch axis.

    Raises:
        UserError: y is not of that shape, or not finite where it is measured.
    """

    def __init__(self, y: Float[Tensor, "..."], operator: Operator, noise: GaussianNoise):
        inner = len(operator.y_shape)
        if tuple(y.shape[y.ndim - inner :]) != operator.y_shape or y.ndim not in (inner, inner + 1):
            raise UserError(
                f"y has shape {tuple(y.shape)}, but {type(operator).__name__} measures {operator.y_shape}; give y that "
                f"shape, or (B, ...) for a batch, or build the operator for another size"
            )
        if operator.observed is not None:
            y = torch.where(operator.observed.to(y.device), y, 0.0)
        if not bool(y.isfinite().all()):
            raise UserError(f"y: {int((~y.isfinite()).sum())} measured entries are not finite; mask them or mend them")
        self.y, self.operator, self.noise = y, operator, noise
        self.batched = y.ndim == inner + 1

    @classmethod
    def simulate(
        cls,
        operator: Operator,
        noise: GaussianNoise,
        x: Float[Tensor, "..."],
        seed: int,
        ids: Int64[Tensor, " batch"] | None = None,
    ) -> "Measurement":
        """Measure x (*x_shape) or (B, *x_shape).

        The noise of image i depends on (seed, ids[i]) only; ids are 0..B-1 unless given.
        """
        batched = x.ndim == len(operator.x_shape) + 1
        images = x if batched else x[None]
        ids = torch.arange(len(images)) if ids is None else ids
        names = torch.stack((ids, torch.full_like(ids, _NOISE_STREAM)), dim=1)
        y = operator(images)
        y = y + noise.sample(y, Randomness(seed, names, y.device))
        return cls(y if batched else y[0], operator, noise)

    @property
    def linear(self) -> LinearOperator:
        """The operator, for formulas that need it linear.

        Raises:
            UserError: it is not.
        """
        if not isinstance(self.operator, LinearOperator):
            raise UserError(
                f"{type(self.operator).__name__} is not a LinearOperator, which this method needs; choose a method for "
                f"non-linear operators (dps), or derive yours from LinearOperator if it is linear"
            )
        return self.operator

    @property
    def values(self) -> Float[Tensor, "*batch y_size"]:
        """The measured entries of y, flat; (B, y_size) if it is batched."""
        return self.operator.observe(self.y) if self.batched else self.operator.observe(self.y[None])[0]

    def residual(self, x: Float[Tensor, "batch *x_shape"]) -> Float[Tensor, "batch *y_shape"]:
        """y - A(x); 0 where nothing is measured."""
        return self.y.to(x) - self.operator(x)

    def log_likelihood(self, x: Float[Tensor, "batch *x_shape"]) -> Float[Tensor, " batch"]:
        """log p(y | x) for x (B, *x_shape); a batched y needs the same B."""
        return self.noise.log_likelihood(self.operator.observe(self.residual(x)))

    def misfit(self, x: Float[Tensor, "batch *x_shape"]) -> Float[Tensor, " batch"]:
        """||y - A x|| / sigma over the measured entries; compare with `expected_misfit`."""
        return self.noise.whiten(self.operator.observe(self.residual(x))).norm(dim=1)

    @property
    def expected_misfit(self) -> float:
        """The misfit of the truth on average: the mean of a chi of y_size degrees of freedom."""
        k = self.operator.y_size
        return math.sqrt(2) * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))

    def repeat(self, samples: int) -> "Measurement":
        """Return y_1 .. y_1 y_2 .. y_2 ..., each `samples` times; y itself if it is not batched."""
        y = self.y.repeat_interleave(samples, dim=0) if self.batched else self.y.clone()
        return Measurement(y, self.operator, self.noise)

    def to(self, device: torch.device | str) -> "Measurement":
        return Measurement(self.y.to(device), self.operator.to(device), self.noise)
