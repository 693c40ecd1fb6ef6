"""Guidance made exact by resampling: a population of paths, drawn again in proportion to their weights."""

from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser
from diffusion_lit.inverse.guidance import MMPS, Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.closing import log_constant, ratio_squared
from diffusion_lit.inverse.posterior.paths import GuidedChain
from diffusion_lit.inverse.posterior.population import Cloud, Population, systematic

__all__ = ["PathResampling", "systematic"]


class PathResampling(Population):
    """Sampling-importance-resampling of paths of a guided chain (Rubin 1988): once, at the end.

    The weights are those of the noise itself, Gaussian or not.

    Args:
        steps: of the default guidance, MMPS.
        particles: K, of a population.
        guidance: in place of the default.

    Raises:
        UserError: fewer than two particles.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, particles: int = 256, guidance: Guidance | None = None):
        super().__init__(particles, threshold=0.0)
        self.chain = GuidedChain(guidance or MMPS(steps))

    @property
    def nfe(self) -> int:
        return self.chain.nfe

    @property
    def vjps(self) -> int:
        return self.chain.vjps

    def populate(self, denoiser: Denoiser, measurement: Measurement, cloud: Cloud, **condition) -> Batch:
        x, log_w = self.chain(denoiser, measurement, cloud.noise, **condition)
        cloud.weigh(log_w)
        return x

    def normaliser(self, denoiser: Denoiser, measurement: Measurement) -> Float64[Tensor, ""]:
        sampler, schedule = self.chain.sampler, denoiser.schedule
        return log_constant(measurement, ratio_squared(schedule, sampler.grid(schedule, sampler.steps)[-2]))
