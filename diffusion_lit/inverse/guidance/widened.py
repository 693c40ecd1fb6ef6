"""N(0, Sigma_y + v I): the noise of a measurement, widened by what is not yet known of A x_0."""

from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import expand
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.noise import Gaussian
from diffusion_lit.inverse.solvers import conjugate_gradient

__all__ = ["widened_solve"]


def widened_solve(
    measurement: Measurement,
    residual: Float[Tensor, "batch *y_shape"],
    variance: Float[Tensor, "*times"],
    noise: Gaussian,
) -> Float64[Tensor, "batch *y_shape"]:
    """(Sigma_y + v I)^-1 r over the measured entries, in float64.

    By conjugate gradients, which end after as many iterations as Sigma_y has different eigenvalues: one for a scalar.

    Args:
        measurement: whose noise it is.
        residual: (B, *y_shape), 0 where nothing is measured.
        variance: v, () or (B,), >= 0.
        noise: N(0, Sigma_y), of `measurement.gaussian`.
    """
    b = residual.double()
    v = expand(variance, b)
    return conjugate_gradient(lambda w: measurement.covary(w, noise) + v * w, b)
