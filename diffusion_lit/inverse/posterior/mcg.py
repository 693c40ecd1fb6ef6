"""Manifold constrained gradient (Chung et al. 2022, MCG)."""

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.inverse.guidance.dps import DPS, StepRule
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.base import Stepwise, ancestral
from diffusion_lit.inverse.posterior.score_sde_projection import project
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["MCG"]


class MCG(Stepwise):
    """x_s = DDPM(x_t, D_y) of DPS, then x_s <- x_s + A^+ (alpha_s y + sigma_s A z - A x_s) (Chung et al. 2022, eq. 14).

    For inpainting the projection overwrites the measured pixels. It forces the samples onto A x = y, noise and all: it
    is wrong for noisy y, whose noise A^+ magnifies where A is small; take `DPS` alone there.

    Args:
        steps: number of steps.
        rule: how far to go along the gradient, as for DPS; the paper's is Published(zeta).
        grid: of times.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 250, rule: StepRule | None = None, grid: Grid | None = None):
        super().__init__(steps, grid)
        self.guidance = DPS(step=rule)

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
        mean = self.guidance.guide(denoiser, measurement)(x_t, t, **condition).mean
        x_s = ancestral(denoiser.schedule, mean, x_t, t, s, noise)
        return project(denoiser.schedule, measurement, x_s, s, noise)
