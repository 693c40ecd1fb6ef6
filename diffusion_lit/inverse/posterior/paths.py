"""Paths of a guided chain and their weights: what guidance gets wrong, found by what it has drawn.

The prior's chain has steps p(x_s | x_t) = N(a x_t + c D, v) and ends with p(x_0 | x_t) = N(D, r^2), where r = sigma_t /
alpha_t is small. The guided chain q has D_y for D, and its last step is conditioned on y exactly. So

    w = p(x_{t_1} .. x_0) p(y | x_0) / q(x_{t_1} .. x_0)
      = N(y; A D, Sigma_y + r^2 A A^T) prod_s N(x_s; a x_t + c D, v) / N(x_s; a x_t + c D_y, v)

is the weight of a path under the posterior of the chain, whatever D_y is, and its mean over paths is the evidence p(y)
(Girsanov's theorem on a grid; Wu et al. 2023, TDS, section 3, with no twist but the last). With an exact D_y all
weights are equal, but for the steps' length. On a mixture MMPS is right within every mode and wrong about their shares,
which is what the weights then tell.

For noise that is not Gaussian, guidance and last step take the Gaussian that stands for it, and w has p(y | x_0) over
that Gaussian's besides: as exact, with weights less even (`closing.close`).
"""

from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.posterior.closing import close, ratio_squared
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.randomness import Randomness
from diffusion_lit.reverse import bridge
from diffusion_lit.samplers import DDPM

__all__ = ["GuidedChain"]

Weights = Float64[Tensor, " batch"]


class GuidedChain:
    """Draws paths and weighs them; as many calls of the denoiser as the guidance's sampler has steps.

    Args:
        guidance: D -> D_y, of a linear operator; its sampler is a DDPM, whose grid and variance both chains have.

    Raises:
        UserError: it is another sampler.
    """

    def __init__(self, guidance: Guidance):
        if not isinstance(guidance.sampler, DDPM):
            raise UserError(
                f"{type(guidance.sampler).__name__}: paths are weighed by the noise of their steps; give the "
                f"guidance a DDPM as sampler, or none"
            )
        self.guidance, self.sampler = guidance, guidance.sampler

    @property
    def nfe(self) -> int:
        """Calls of the denoiser a path."""
        return self.sampler.nfe

    @property
    def vjps(self) -> int:
        """Vector-Jacobian products a path; the step to the data takes none."""
        return (self.nfe - 1) * self.guidance.vjps_per_call

    def __call__(
        self, denoiser: Denoiser, measurement: Measurement, noise: Randomness, **condition
    ) -> tuple[Batch, Weights]:
        """Return x_0 (B, *) and log w (B,), up to a constant, of a path for each of B streams of noise.

        Args:
            denoiser: the prior's D.
            measurement: of one y, or of as many as there are streams.
            noise: the streams.
            condition: passed on to the denoiser.
        """
        schedule, reference, shape = denoiser.schedule, denoiser.reference, measurement.operator.x_shape
        times = self.sampler.grid(schedule, self.sampler.steps).to(reference.device)
        x = schedule(times[0])[1].to(reference) * noise.normal(*shape, dtype=reference.dtype)
        log_w = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for t, s in pairwise(times[:-1]):
            at = Tangent.at(denoiser, x, t, **condition)
            mean = at.mean.detach()
            score = self.guidance.likelihood_score(at, measurement).double()
            pull = (expand(at.sigma**2 / at.alpha, score) * score).to(x)  # D_y - D
            of_x_t, of_x_0, _ = bridge(schedule, t, s)
            variance = self.sampler.variance(schedule, Posterior(mean, at.variance), t, s)
            deviation = variance.sqrt().to(x)
            z = noise.normal(*shape, dtype=x.dtype)
            # log N(x_s; D) - log N(x_s; D_y), where x_s is sqrt(v) z from the guided mean
            shift = of_x_0.to(x) * pull / deviation
            log_w = log_w - (shift * (z + shift / 2)).flatten(1).double().sum(1)
            x = of_x_t.to(x) * x + of_x_0.to(x) * (mean + pull) + deviation * z
        with torch.no_grad():
            mean = denoiser(x, times[-2], **condition).mean
        x_0, log_y = close(measurement, mean, ratio_squared(schedule, times[-2]), noise)
        return x_0, log_w + log_y
