"""Diffusion posterior sampling (Chung et al. 2023)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.base import Stepwise, ancestral
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["DPS"]


class DPS(Stepwise):
    """x_s = DDPM(x_t, D) - zeta grad_{x_t} ||y - A(D)||   (Chung et al. 2023, algorithm 1).

    The norm is each sample's own; published code takes one over the batch, which weakens the step as the batch grows.
    The gradient of the norm is half of the paper's zeta_i grad ||.||^2, as in its code
    (zeta_i = zeta / ||y - A(D)||). The step does not follow from
    a model of the noise, so its strength is tied to the number of steps and to the scale of the data: not exact even
    for Gaussian data.

    Args:
        steps: the paper's 1000.
        zeta: step size, for data in [-1, 1]; the paper's 0.3 to 1.
        grid: of times.
    """

    def __init__(self, steps: int = 1000, zeta: float = 1.0, grid: Grid | None = None):
        super().__init__(steps, grid)
        self.zeta = zeta

    @property
    def vjps(self) -> int:
        return self.steps

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
            distance = measurement.residual(at.mean).flatten(1).norm(dim=1).sum()  # of one norm a sample
        (gradient,) = torch.autograd.grad(distance, at.x_t)
        return ancestral(denoiser.schedule, at.mean.detach(), x_t, t, s, noise) - self.zeta * gradient
