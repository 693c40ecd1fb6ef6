"""The likelihood score of annealed Langevin dynamics (Jalal et al. 2021, "Robust compressed sensing MRI")."""

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.guidance.widened import widened_solve
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["ALD"]


class ALD(Guidance):
    """p(y | x_t) ~ N(y; A x_t / alpha_t, Sigma_y + gamma_t^2 I), gamma_t = sigma_t / alpha_t: no Jacobian, no solve.

    grad log p(y | x_t) = A^T (Sigma_y + gamma_t^2 I)^-1 (y - A x_t / alpha_t) / alpha_t          (Jalal et al. 2021)

    The paper writes it for alpha = 1; the last 1 / alpha_t is the chain rule's. It takes the data to be flat and A A^T
    to be 1: `Convolved` has A A^T. So an A of norm above sqrt(2) makes it overshoot: scale such an operator, y and
    sigma_y together. The paper walks with `AnnealedLangevin`; its released code gives the pull the norm of the prior's
    score, times a constant, in place of the variances.

    Args:
        steps: of the default sampler.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=0)

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        alpha, x_t = expand(at.alpha, at.x_t.double()), at.x_t.detach().double()
        residual = measurement.residual(x_t / alpha)
        noise = measurement.gaussian(at.mean.detach())
        weighed = widened_solve(measurement, residual, (at.sigma / at.alpha) ** 2, noise)
        return measurement.linear.transpose(weighed) / alpha
