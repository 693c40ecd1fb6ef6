"""Methods that step in the coordinates of A's singular vectors, where every coordinate has a noise of its own."""

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Denoiser
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.spectrum import Spectrum
from diffusion_lit.samplers.grids import Grid

__all__ = ["Spectral"]


class Spectral(Stepwise):
    """A step that asks `spectrum` for the coordinates; noise of several variances is whitened once, before the walk.

    Args:
        steps: number of steps.
        grid: of times.
        threshold: singular values up to this part of the largest count as zero.
    """

    needs = LinearOperator

    def __init__(self, steps: int, grid: Grid | None = None, threshold: float = 1e-10):
        super().__init__(steps, grid)
        self.threshold = threshold

    def spectrum(self, measurement: Measurement) -> Spectrum:
        """Return y along the singular vectors."""
        return Spectrum.of(measurement, self.threshold)

    def draw(
        self, denoiser: Denoiser, measurement: Measurement, ids: Int64[Tensor, "batch *names"], seed: int, **condition
    ) -> Float[Tensor, "batch *x_shape"]:
        return super().draw(denoiser, measurement.whitened(), ids, seed, **condition)
