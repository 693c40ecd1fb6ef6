"""The twisted diffusion sampler (Wu et al. 2023, "Practical and asymptotically exact conditional sampling")."""

from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

from diffusion_lit.denoise import Batch, Denoiser, Posterior, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.posterior.closing import close, law_of, log_constant, ratio_squared
from diffusion_lit.inverse.posterior.population import Cloud, Population
from diffusion_lit.inverse.posterior.twists import TweedieTwist, Twist
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.reverse import bridge
from diffusion_lit.samplers.ancestral import Fixed, StepVariance
from diffusion_lit.samplers.grids import Grid, LogSNR

__all__ = ["TDS"]


class TDS(Population):
    """Particles that are guided by a twist, weighed by what it expects of y, and resampled where weights grow uneven.

        x_s ~ N(a x_t + c D_y, v)                                                      (Wu et al. 2023, algorithm 1)
        w_s = p(x_s | x_t) psi_s(x_s) / (q(x_s | x_t, y) psi_t(x_t)),   p(x_s | x_t) = N(a x_t + c D, v)

    The last step draws x_0 ~ N(D, r^2) given y exactly, with psi_0 = N(y; A D, Sigma_y + r^2 A A^T), so the law of a
    large population is the posterior of the prior's chain, whatever the twist.

    Two things differ from the paper. The twist's covariance is Tweedie's, not that of data without structure: with it,
    and a threshold, a population is resampled once or twice, not at every step, each of which loses ancestors. And the
    steps are even in log-SNR: what is left is the chain's own error, p(x_s | x_t) taken as a Gaussian of one variance,
    which is largest where x_t chooses between modes. Without noise of y the twist has no limit.

    Args:
        steps: calls of the denoiser.
        particles: K, of a population.
        twist: psi and its score; TweedieTwist() unless given.
        threshold: of the effective size, below which a population is resampled; 1 does so at every step.
        grid: of times, LogSNR unless given.
        variance: v of a step, the geometric mean of DDPM's two unless given.

    Raises:
        UserError: no step, fewer than two particles, or a threshold outside of [0, 1].
    """

    needs = LinearOperator
    needs_noise = True

    def __init__(
        self,
        steps: int = 100,
        particles: int = 256,
        twist: Twist | None = None,
        threshold: float = 0.5,
        grid: Grid | None = None,
        variance: StepVariance | None = None,
    ):
        super().__init__(particles, threshold)
        if steps < 1:
            raise UserError(f"steps: {steps} < 1; a method takes at least one step, to the data")
        self.steps, self.twist = steps, twist or TweedieTwist()
        self.grid, self.variance = grid or LogSNR(), variance or Fixed(0.5)

    @property
    def nfe(self) -> int:
        return self.steps

    @property
    def vjps(self) -> int:
        """The step to the data takes none."""
        return (self.steps - 1) * self.twist.vjps

    def populate(self, denoiser: Denoiser, measurement: Measurement, cloud: Cloud, **condition) -> Batch:
        schedule, reference, shape = denoiser.schedule, denoiser.reference, measurement.operator.x_shape
        times, law = self.grid(schedule, self.steps).to(reference.device), law_of(measurement)
        x = schedule(times[0])[1].to(reference) * cloud.noise.normal(*shape, dtype=reference.dtype)
        before = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for t, s in pairwise(times[:-1]):
            at = Tangent.at(denoiser, x, t, **condition)
            mean = at.mean.detach()
            score, log_psi = self.twist(at, measurement, law)
            pull = (expand(at.sigma**2 / at.alpha, score.double()) * score.double()).to(x)  # D_y - D
            of_x_t, of_x_0, _ = bridge(schedule, t, s)
            variance = self.variance(schedule, Posterior(mean, at.variance), t, s).expand_as(mean)
            cloud.weigh(log_psi - before)
            x, mean, pull, variance, before = cloud.resample(x, mean, pull, variance, log_psi)
            deviation, z = variance.sqrt().to(x), cloud.noise.normal(*shape, dtype=x.dtype)
            # log N(x_s; D) - log N(x_s; D_y), where x_s is sqrt(v) z from the guided mean
            shift = of_x_0.to(x) * pull / deviation
            cloud.weigh(-(shift * (z + shift / 2)).flatten(1).double().sum(1))
            x = of_x_t.to(x) * x + of_x_0.to(x) * (mean + pull) + deviation * z
        mean = denoiser(x, times[-2], **condition).mean
        x_0, log_y = close(measurement, mean, ratio_squared(schedule, times[-2]), cloud.noise)
        cloud.weigh(log_y - before)
        return x_0

    def normaliser(self, denoiser: Denoiser, measurement: Measurement) -> Float64[Tensor, ""]:
        schedule = denoiser.schedule
        return log_constant(measurement, ratio_squared(schedule, self.grid(schedule, self.steps)[-2]))
