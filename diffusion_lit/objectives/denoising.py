"""Denoising score matching: learn E[x_0 | x_t] by regression on x_0 (Vincent 2011; Ho et al. 2020)."""

from jaxtyping import Float, Int64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, expand
from diffusion_lit.noise import Schedule
from diffusion_lit.objectives.base import Objective
from diffusion_lit.objectives.times import LogNormal, TimeSampler
from diffusion_lit.objectives.weightings import EDMWeighting, Weighting
from diffusion_lit.randomness import Randomness

__all__ = ["DenoisingScoreMatching", "diffuse"]


class DenoisingScoreMatching(Objective):
    """E_t w(t) |D(alpha_t x_0 + sigma_t eps, t) - x_0|^2 / d: three small objects, of which two are chosen here.

    Args:
        weighting: w as a function of the schedule and t.
        times: the law of t.
    """

    def __init__(self, weighting: Weighting | None = None, times: TimeSampler | None = None):
        self.weighting = weighting or EDMWeighting()
        self.times = times or LogNormal()

    def loss_at(
        self,
        denoiser: Denoiser,
        x_0: Batch,
        t: Float[Tensor, " batch"],
        *,
        seed: int,
        positions: Int64[Tensor, " batch"],
        **condition,
    ) -> Float[Tensor, " batch"]:
        """The weighted squared error of each sample (B,), averaged over its dimensions, at times t (B,)."""
        x_t = diffuse(denoiser.schedule, x_0, t, Randomness(seed, positions))
        error = (denoiser(x_t, t, **condition).mean - x_0).square().flatten(1).mean(1)
        return self.weighting(denoiser.schedule, t).to(error) * error


def diffuse(schedule: Schedule, x_0: Batch, t: Float[Tensor, "*times"], noise: Randomness) -> Batch:
    """Draw x_t = alpha_t x_0 + sigma_t eps (B, *) at times t () or (B,)."""
    alpha, sigma = schedule(t)
    return expand(alpha, x_0) * x_0 + expand(sigma, x_0) * noise.normal(*x_0.shape[1:], dtype=x_0.dtype)
