"""Gaussian noise: of one variance, of none, of one for each entry, and correlated."""

import math

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.inverse.noise.base import Gaussian, Values
from diffusion_lit.randomness import Randomness

__all__ = ["CorrelatedNoise", "DiagonalNoise", "GaussianNoise", "NoNoise"]


class GaussianNoise(Gaussian):
    """n ~ N(0, sigma^2 I) on the measured entries.

    Args:
        sigma: standard deviation >= 0 in the units of y (images live in [-1, 1], so there 0.05 is 2.5 % of the range).

    Raises:
        UserError: sigma is negative or not a number.
    """

    def __init__(self, sigma: float):
        super().__init__()
        if not 0 <= sigma < math.inf:
            raise UserError(f"sigma: {sigma} is not a standard deviation; give a number >= 0 in the units of y")
        self.sigma = float(sigma)

    @property
    def variance(self) -> float:
        return self.sigma**2

    def whiten(self, residual: Values) -> Values:
        """Divide by the standard deviation.

        Raises:
            UserError: sigma is 0.
        """
        if self.sigma == 0:
            raise UserError("sigma: 0 has no likelihood, only equality; give the noise a sigma > 0, however small")
        return residual / self.sigma

    def multiply(self, z: Values) -> Values:
        return self.variance * z

    def log_determinant(self, d_y: int) -> float:
        return 2 * d_y * math.log(self.sigma)

    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        return ax + self.sigma * noise.normal(*ax.shape[1:], dtype=ax.dtype)


class NoNoise(GaussianNoise):
    """y = A x: GaussianNoise(0), for methods that take it; it has no likelihood, only equality."""

    def __init__(self) -> None:
        super().__init__(0.0)


class DiagonalNoise(Gaussian):
    """n ~ N(0, diag(sigma^2)): each entry has its own standard deviation.

    Args:
        sigma: of a shape that broadcasts to y's (such as (C, 1, 1) for images), or (d_y,) for the measured entries;
            > 0, in the units of y.

    Raises:
        UserError: a sigma is not above 0.
    """

    sigma: Tensor

    def __init__(self, sigma: Float[Tensor, "..."]):
        super().__init__()
        if not bool(((sigma > 0) & sigma.isfinite()).all()):
            raise UserError(
                f"sigma: {int((~((sigma > 0) & sigma.isfinite())).sum())} of {sigma.numel()} standard deviations are "
                f"not above 0; an entry without noise takes a small one, an entry without information a large one"
            )
        self.register_buffer("sigma", sigma)

    def restrict(self, y_shape: tuple[int, ...], observed: Bool[Tensor, "*y_shape"] | None) -> "DiagonalNoise":
        size = math.prod(y_shape) if observed is None else int(observed.sum())
        if tuple(self.sigma.shape) == (size,):
            return self
        try:
            sigma = self.sigma.expand(y_shape)
        except RuntimeError as error:
            raise UserError(
                f"sigma: shape {tuple(self.sigma.shape)} fits neither y of {tuple(y_shape)} nor its {size} measured "
                f"entries; give one for each entry"
            ) from error
        return DiagonalNoise(sigma.flatten() if observed is None else sigma[observed.to(sigma.device)])

    def whiten(self, residual: Values) -> Values:
        return residual / self.sigma.to(residual)

    def multiply(self, z: Values) -> Values:
        return self.sigma.to(z).square() * z

    def log_determinant(self, d_y: int) -> Float[Tensor, "*batch"]:
        return 2 * self.sigma.log().sum(-1)

    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        return ax + self.sigma.to(ax) * noise.normal(*ax.shape[1:], dtype=ax.dtype)


class CorrelatedNoise(Gaussian):
    """n ~ N(0, Sigma).

    Args:
        sigma: Sigma, (n, n) for the n entries of y, flattened (rows of hidden ones are left out), or for the measured
            ones; symmetric, positive definite, in squared units of y.

    Raises:
        UserError: it is not.
    """

    values: Tensor
    basis: Tensor

    def __init__(self, sigma: Float[Tensor, "..."]):
        super().__init__()
        if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or not torch.allclose(sigma, sigma.mT, rtol=1e-4):
            raise UserError(f"Sigma: shape {tuple(sigma.shape)}; expected a symmetric matrix (n, n)")
        values, basis = torch.linalg.eigh((sigma.double() + sigma.double().mT) / 2)
        if not float(values[0]) > 1e-12 * float(values[-1]):
            raise UserError(
                f"Sigma: its eigenvalues run from {float(values[0]):.3g} to {float(values[-1]):.3g}; a covariance is "
                f"positive definite: add a small multiple of the unit matrix"
            )
        self.register_buffer("values", values)
        self.register_buffer("basis", basis)

    def _power(self, exponent: float, z: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Sigma^exponent z."""
        basis = self.basis.to(z)
        return (z @ basis) * self.values.to(z) ** exponent @ basis.mT

    def restrict(self, y_shape: tuple[int, ...], observed: Bool[Tensor, "*y_shape"] | None) -> "CorrelatedNoise":
        size, given = math.prod(y_shape), len(self.values)
        measured = size if observed is None else int(observed.sum())
        if given not in (size, measured):
            raise UserError(
                f"Sigma: {given} x {given} fits neither the {size} entries of y nor the {measured} that are measured"
            )
        if given == measured or observed is None:
            return self
        keep = observed.flatten().to(self.basis.device)
        return CorrelatedNoise(self.covariance(size)[keep][:, keep])

    def covariance(self, d_y: int) -> Float64[Tensor, "d_y d_y"]:
        return self.basis * self.values @ self.basis.mT

    def whiten(self, residual: Values) -> Values:
        return self._power(-0.5, residual)

    def multiply(self, z: Values) -> Values:
        return self._power(1.0, z)

    def log_determinant(self, d_y: int) -> Float[Tensor, "*batch"]:
        return self.values.log().sum()

    def sample(self, ax: Float[Tensor, "batch *y_shape"], noise: Randomness) -> Float[Tensor, "batch *y_shape"]:
        size = math.prod(ax.shape[1:])
        if size != len(self.values):
            raise UserError(
                f"Sigma: {len(self.values)} x {len(self.values)}, but y has {size} entries; to draw noise give the "
                f"covariance of all of them, also of those that are hidden"
            )
        return ax + self._power(0.5, noise.normal(size, dtype=ax.dtype)).reshape(ax.shape)
