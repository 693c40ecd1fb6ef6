"""A measurement in the coordinates of A's singular vectors, where it is one noisy number a coordinate.

A = U diag(s) V^T turns y = A x + n, n ~ N(0, sigma^2 I), into U^T y / s = V^T x + N(0, sigma^2 / s^2): coordinate i of
x along V is seen with a deviation of sigma / s_i of its own, and the rest of x is not seen at all.
"""

from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.operators.svd import SVD

__all__ = ["Spectrum"]

Along = Float[Tensor, "batch r"]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """y along the right singular vectors of A.

    Attributes:
        s: (r,) singular values above the threshold, in no particular order.
        y: (B, r), or (1, r) for one measurement: U^T y / s, in the units of x.
        sigma: standard deviation of the (whitened) noise, >= 0.
    """

    s: Float64[Tensor, " r"]
    y: Float64[Tensor, "batch_or_1 r"]
    sigma: float
    _svd: SVD
    _kept: Tensor  # (all singular values,) which of them are above the threshold

    @classmethod
    def of(cls, measurement: Measurement, threshold: float = 1e-10) -> "Spectrum":
        """Decompose; noise of several variances is whitened first, which leaves the posterior as it is.

        Args:
            measurement: y, a linear operator with an SVD, and noise that is Gaussian or has a Gaussian.
            threshold: singular values up to this part of the largest count as zero, their directions as unseen.

        Raises:
            UserError: there is no SVD, A is zero, or the noise cannot be whitened.
        """
        operator = measurement.operator
        if isinstance(operator, LinearOperator):
            measurement = measurement.whitened()
            svd = measurement.linear.svd()
        else:
            svd = None
        if svd is None:
            white = "" if measurement.operator is operator else ", once its noise is whitened,"
            raise UserError(
                f"{operator.name}{white} has no SVD, but this method needs a singular value decomposition; give the "
                f"operator an svd(), describe it by a matrix of at most 2^20 entries, or choose a method that needs "
                f"none (mmps, diffpir, daps; dps for operators that are not linear)"
            )
        kept = svd.s > threshold * svd.s.max()
        if not bool(kept.any()):
            raise UserError(f"{operator.name}: its {len(svd.s)} singular values are all 0, so y says nothing of x")
        y = measurement.y if measurement.batched else measurement.y[None]
        along = svd.ut(y.double())[:, kept] / svd.s[kept]
        return cls(svd.s[kept], along, measurement.noise.variance**0.5, svd, kept)

    @property
    def deviation(self) -> Float64[Tensor, " r"]:
        """sigma / s, the standard deviation of the noise in each coordinate of y."""
        return self.sigma / self.s

    def split(self, x: Batch) -> tuple[Along, Batch]:
        """Return V^T x (B, r), and x - V V^T x (B, *x_shape), the part that A does not see."""
        along = self._svd.vt(x)[:, self._kept]
        return along, x - self._back(along)

    def join(self, along: Along, rest: Batch) -> Batch:
        """Return V along + rest (B, *x_shape): undo `split`."""
        return self._back(along) + rest

    def _back(self, along: Along) -> Batch:
        full = along.new_zeros(len(along), len(self._kept))
        full[:, self._kept] = along
        return self._svd.v(full)
