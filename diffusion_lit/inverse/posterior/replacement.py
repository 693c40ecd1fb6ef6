"""Replacement: inpainting by overwriting the measured pixels at every noise level (Song et al. 2021, appendix I.2)."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.inpainting import Inpainting
from diffusion_lit.inverse.posterior.base import Stepwise, ancestral
from diffusion_lit.noise import Schedule
from diffusion_lit.randomness import Randomness
from diffusion_lit.samplers.grids import Grid, Quadratic

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
    if rest < -1e-9 * sigma**2:
        return x_s
    observed = measurement.operator.observed
    assert observed is not None  # an inpainting operator
    known = alpha.to(x_s) * measurement.y.to(x_s) + rest.clamp_min(0).sqrt().to(x_s) * z
    return torch.where(observed.to(x_s.device), known, x_s)


class Replacement(Stepwise):
    """x_s = DDPM(x_t, D), its measured pixels replaced by noised y.

    The hidden ones hear of y through the denoiser alone.

    Args:
        steps: number of steps.
        grid: of times, quadratic unless given; its time nearest to y's noise level is moved there, where y is x_s.
    """

    needs = Inpainting

    def __init__(self, steps: int = 250, grid: Grid | None = None):
        super().__init__(steps, grid or Quadratic())

    def times(self, schedule: Schedule, measurement: Measurement) -> Float64[Tensor, " steps_plus_1"]:
        times, level = super().times(schedule, measurement), measurement.noise.variance
        log_snr = schedule.log_snr(times[:-1])
        level = -math.log(level) if level > 0 else math.inf  # log(alpha^2 / sigma^2) of y
        if self.steps > 2 and log_snr[0] < level < log_snr[-1]:
            nearest = 1 + (log_snr[1:] - level).abs().argmin()
            times[nearest] = schedule.time(torch.tensor(level, dtype=torch.float64))
        return times

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
