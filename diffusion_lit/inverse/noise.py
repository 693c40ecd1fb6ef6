"""Noise: p(y | A x), its samples, and the Gaussian that stands for it where a method needs one.

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

__all__ = [
    "CorrelatedNoise",
    "DiagonalNoise",
    "Gaussian",
    "GaussianNoise",
    "LaplaceNoise",
    "NoNoise",
    "Noise",
    "PoissonNoise",
]

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
