"""GradPaint: inpainting that moves x_t until the denoised image meets the measured pixels (Grechka et al. 2023)."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.inpainting import Inpainting
from diffusion_lit.inverse.posterior.base import ancestral
from diffusion_lit.inverse.posterior.replacement import Replacement, replace
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["GradPaint", "seam"]


def seam(hidden: Tensor) -> Float64[Tensor, "*x_shape"]:
    """How many hidden neighbours each measured pixel has along the last two axes, or the one; 0 where hidden."""
    count = torch.zeros(hidden.shape, dtype=torch.float64, device=hidden.device)
    for axis in range(max(hidden.ndim - 2, 0), hidden.ndim):
        size = hidden.shape[axis]
        count.narrow(axis, 0, size - 1).add_(hidden.narrow(axis, 1, size - 1))
        count.narrow(axis, 1, size - 1).add_(hidden.narrow(axis, 0, size - 1))
    return torch.where(hidden, 0.0, count)


class GradPaint(Replacement):
    """x_s = DDPM(x_t, D) - rate sigma_s g / |g|, g = grad_{x_t} loss(D); then the measured pixels of x_s are replaced.

    loss = sum over the measured pixels of (1 + smooth n_i) (y_i - D_i)^2, n_i the hidden neighbours of pixel i

    The second term is an alignment after the paper's, its form and rate ours: the step across the mask's edge that
    pasting y into D makes, y_i - D_j, less the step that D has there, D_i - D_j. The norm is each sample's own. The
    length of the move is a part of the noise's, so it does not depend on the schedule, but with the number of steps it
    grows in sum: like DPS, not exact.

    Args:
        steps: number of steps, with a vector-Jacobian product each.
        rate: >= 0, the length of a move in units of sigma_s; 0 is plain replacement.
        smooth: >= 0, weight of the alignment.
        grid: of times, as for Replacement.

    Raises:
        UserError: a number is out of range.
    """

    needs = Inpainting

    def __init__(self, steps: int = 250, rate: float = 0.1, smooth: float = 1.0, grid: Grid | None = None):
        super().__init__(steps, grid)
        if rate < 0 or smooth < 0:
            raise UserError(f"rate {rate}, smooth {smooth}: a length and a weight are at least 0")
        self.rate, self.smooth = rate, smooth

    @property
    def vjps(self) -> int:
        return self.steps

    def loss(self, measurement: Measurement, mean: Batch) -> Float[Tensor, " batch"]:
        """Of the denoised image (B, *)."""
        hidden = measurement.operator.hidden
        assert hidden is not None  # an inpainting operator
        weight = 1 + self.smooth * seam(hidden.to(mean.device)).to(mean)
        return (weight * measurement.residual(mean).square()).flatten(1).sum(1)

    def step(
        self,
        denoiser: Denoiser,
        measurement: Measurement,
        x_t: Batch,
        t: Float64[Tensor, ""],
        s: Float64[Tensor, ""],
        noise: Randomness,
        **condition,
    ) -> Batch:
        at = Tangent.at(denoiser, x_t, t, **condition)
        with torch.enable_grad():
            loss = self.loss(measurement, at.mean).sum()
        (gradient,) = torch.autograd.grad(loss, at.x_t)
        norm = gradient.flatten(1).norm(dim=1)
        length = self.rate * denoiser.schedule(s)[1].to(norm) / norm.where(norm > 0, 1.0)
        x_s = ancestral(denoiser.schedule, at.mean.detach(), x_t, t, s, noise) - expand(length, x_t) * gradient
        return replace(denoiser.schedule, measurement, x_s, s, noise)
