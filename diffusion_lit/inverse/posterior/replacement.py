"""Replacement: inpainting by overwriting the measured pixels at every noise level (Song et al. 2021, appendix I.2)."""

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.inpainting import Inpainting
from diffusion_lit.inverse.posterior.base import Stepwise, ancestral
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid

__all__ = ["Replacement", "replace"]


def replace(schedule: Schedule, measurement: Measurement, x_s: Batch, s: Tensor, noise: Randomness) -> Batch:
    """Overwrite the measured pixels of x_s by a draw of q(x_s | x_0) made from y.

    y = x_0 + n is itself a noisy image, so only the rest of the noise is added: alpha_s y + sqrt(sigma_s^2 - alpha_s^2
    sigma_y^2) z has the right mean and variance. Below y's own noise level nothing is known of x_s that the model,
    which has seen y at that level, does not know: it is left alone. With sigma_y = 0 this is the published rule.
    """
    alpha, sigma = schedule(s)
    rest = sigma**2 - alpha**2 * measurement.noise.variance
    z = noise.normal(*x_s.shape[1:], dtype=x_s.dtype)  # drawn in any case, so that the stream has one length
    if rest < 0:
        return x_s
    observed = measurement.operator.observed
    assert observed is not None  # an inpainting operator
    known = alpha.to(x_s) * measurement.y.to(x_s) + rest.sqrt().to(x_s) * z
    return torch.where(observed.to(x_s.device), known, x_s)


class Replacement(Stepwise):
    """x_s = DDPM(x_t, D), its measured pixels replaced by noised y.

    The hidden ones hear of y through the denoiser alone.

    Args:
        steps: number of steps.
        grid: of times.
    """

    needs = Inpainting

    def __init__(self, steps: int = 250, grid: Grid | None = None):
        super().__init__(steps, grid)

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
        return replace(denoiser.schedule, measurement, x_s, s, noise)
