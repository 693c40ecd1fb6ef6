"""A measurement: y = A(x) + n, what was seen, through which operator, with which noise."""

import copy
import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from diffusion_lit.denoise import expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.noise import DiagonalNoise, Gaussian, GaussianNoise, Noise
from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.whitening import Whitening
from diffusion_lit.inverse.solvers import conjugate_gradient
from diffusion_lit.randomness import Randomness, beside

__all__ = ["GaussianNoise", "Measurement"]

_NOISE_STREAM = 0x79  # keeps the noise of sample i apart from the numbers that a method draws for (seed, i)


class Measurement:
    """y = A(x) + n.

    Args:
        y: (*y_shape), one measurement, or (B, *y_shape), one for each image; what the operator hides is set to 0.
        operator: A.
        noise: p(y | A x).

    Attributes:
        batched: whether y has a batch axis.
        noise: of the measured entries, as flat vectors.

    Raises:
        UserError: y is not of that shape, not finite where it is measured or impossible with that noise, or the noise
            is for another shape.
    """

    def __init__(self, y: Float[Tensor, "..."], operator: Operator, noise: Noise):
        inner = len(operator.y_shape)
        if tuple(y.shape[y.ndim - inner :]) != operator.y_shape or y.ndim not in (inner, inner + 1):
            raise UserError(
                f"y has shape {tuple(y.shape)}, but {operator.name} measures {operator.y_shape}; give y that "
                f"shape, or (B, ...) for a batch, or build the operator for another size"
            )
        if operator.observed is not None:
            y = torch.where(operator.observed.to(y.device), y, 0.0)
        if not bool(y.isfinite().all()):
            raise UserError(f"y: {int((~y.isfinite()).sum())} measured entries are not finite; mask them or mend them")
        self.y, self.operator = y, operator
        self.noise = noise.restrict(operator.y_shape, operator.observed)
        self.batched = y.ndim == inner + 1
        noise.check(self.values if self.batched else self.values[None])

    @classmethod
    def simulate(
        cls,
        operator: Operator,
        noise: Noise,
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
        y = operator(images)
        y = noise.sample(y, Randomness(seed, beside(ids, _NOISE_STREAM), y.device))
        return cls(y if batched else y[0], operator, noise)

    @property
    def linear(self) -> LinearOperator:
        """The operator, for formulas that need it linear.

        Raises:
            UserError: it is not.
        """
        if not isinstance(self.operator, LinearOperator):
            raise UserError(
                f"{self.operator.name} is not a LinearOperator, which this method needs; choose a method for "
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
        return self.noise.log_likelihood(self._rows(x), self.operator.observe(self.operator(x)))

    def misfit(self, x: Float[Tensor, "batch *x_shape"]) -> Float[Tensor, " batch"]:
        """||Sigma^-1/2 (y - A x)|| over the measured entries, Sigma that of the noise's Gaussian.

        Compare with `expected_misfit`.
        """
        ax = self.operator.observe(self.operator(x))
        return self.noise.gaussian(ax).whiten(self._rows(x) - ax).norm(dim=1)

    def _rows(self, x: Tensor) -> Float[Tensor, "batch_or_1 y_size"]:
        values = self.values.to(x)
        return values if self.batched else values[None]

    def gaussian(self, x: Float[Tensor, "batch *x_shape"]) -> Gaussian:
        """Return the noise's Gaussian at A x, of the measured entries; for Gaussian noise that is the noise itself.

        Raises:
            UserError: it has none.
        """
        with torch.no_grad():
            return self.noise.gaussian(self.operator.observe(self.operator(x)))

    def covary(
        self, z: Float[Tensor, "batch *y_shape"], noise: Gaussian | None = None
    ) -> Float[Tensor, "batch *y_shape"]:
        """Sigma z for z (B, *y_shape), 0 where nothing is measured.

        Args:
            z: (B, *y_shape).
            noise: of `gaussian(x)`; the measurement's own unless given, which must then be Gaussian.
        """
        return self.operator.place(self._gaussian(noise).multiply(self.operator.observe(z)))

    def gram_solve(
        self, z: Float[Tensor, "batch *y_shape"], scale: Float[Tensor, "*scales"], noise: Gaussian | None = None
    ) -> Float64[Tensor, "batch *y_shape"]:
        """Solve (scale A A^T + Sigma) w = z in float64: exactly if A has an SVD and Sigma is a multiple of 1.

        Else by conjugate gradients, whitened by the noise.

        Args:
            z: (B, *y_shape).
            scale: () or (B,), > 0.
            noise: of `gaussian(x)`; the measurement's own unless given, which must then be Gaussian.
        """
        operator, noise, z = self.linear, self._gaussian(noise), z.double()
        if isinstance(noise, GaussianNoise):
            return operator.gram_solve(z, scale, torch.full((), noise.variance, dtype=z.dtype, device=z.device))

        def white(w: Tensor) -> Tensor:
            return operator.place(noise.whiten(operator.observe(w)))

        factor = expand(scale, z)
        solution = conjugate_gradient(lambda w: w + factor * white(operator(operator.transpose(white(w)))), white(z))
        return white(solution)

    def whitened(self) -> "Measurement":
        """Return Sigma^-1/2 y = Sigma^-1/2 A x + n, n ~ N(0, 1): the same posterior for methods of one variance.

        Sigma is that of the noise, or of the Gaussian that stands for it at y itself (for Poisson noise so each count
        is its own variance). Where there is one variance already, this is the measurement itself.

        Raises:
            UserError: A is not linear, the noise has no Gaussian, or its Sigma differs from one y of a batch to
                another.
        """
        values = self.values if self.batched else self.values[None]
        noise = self.noise.gaussian(values)
        if isinstance(noise, GaussianNoise):
            return self
        if isinstance(noise, DiagonalNoise) and noise.sigma.ndim == 2:
            if len(noise.sigma) != 1:
                raise UserError(
                    f"{type(self.noise).__name__}: each of the {len(values)} y of the batch has variances of its own; "
                    f"whiten one y at a time"
                )
            noise = DiagonalNoise(noise.sigma[0])
        whitening = Whitening(noise, self.linear)
        white = whitening(self.operator.place(values))
        operator = whitening @ self.linear
        return Measurement(white if self.batched else white[0], operator, GaussianNoise(1.0))

    def _gaussian(self, noise: Gaussian | None) -> Gaussian:
        own = self.noise if noise is None else noise
        if not isinstance(own, Gaussian):
            raise UserError(
                f"{type(own).__name__} is not Gaussian: give the Gaussian that stands for it at an x, gaussian(x)"
            )
        return own

    @property
    def expected_misfit(self) -> float:
        """The misfit of the truth on average: the mean of a chi of y_size degrees of freedom."""
        k = self.operator.y_size
        return math.sqrt(2) * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))

    def repeat(self, samples: int) -> "Measurement":
        """Return y_1 .. y_1 y_2 .. y_2 ..., each `samples` times; y itself if it is not batched."""
        return self._with(self.y.repeat_interleave(samples, dim=0) if self.batched else self.y.clone())

    def to(self, device: torch.device | str) -> "Measurement":
        self.operator.to(device)
        self.noise.to(device)
        return self._with(self.y.to(device))

    def _with(self, y: Tensor) -> "Measurement":
        other = copy.copy(self)
        other.y = y
        return other
