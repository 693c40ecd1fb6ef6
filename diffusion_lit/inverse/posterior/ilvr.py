"""Iterative latent variable refinement (Choi et al. 2021, ILVR)."""

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.base import Stepwise, ancestral
from diffusion_lit.inverse.posterior.score_sde_projection import project
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["ILVR"]


class ILVR(Stepwise):
    """x_s <- x_s - phi(x_s) + phi(q(x_s | reference)) after each step (Choi et al. 2021, algorithm 1).

    phi = A^+ A is their low-pass filter, up(down(x)), made a projection, and phi of the noised reference is A^+
    (alpha_s y + sigma_s A z): so y is what is needed of the reference, and any linear operator will do. y counts as
    free of noise, and is met exactly if the refinement goes on to the end.

    Args:
        steps: number of steps.
        until: refine while s >= until, a time in [0, 1); their range of conditioning. Later steps blend in.
        grid: of times.

    Raises:
        UserError: no such time.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 250, until: float = 0.0, grid: Grid | None = None):
        super().__init__(steps, grid)
        if not 0 <= until < 1:
            raise UserError(f"until: {until} is not in [0, 1); 0 refines to the end")
        self.until = until

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
        x_s = ancestral(denoiser.schedule, denoiser(x_t, t, **condition).mean, x_t, t, s, noise)
        return project(denoiser.schedule, measurement, x_s, s, noise) if s >= self.until else x_s
