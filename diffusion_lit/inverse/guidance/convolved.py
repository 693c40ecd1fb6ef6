"""The convolved likelihood (Adam et al. 2022, "Posterior samples of source galaxies in strong lenses")."""

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["Convolved"]


class Convolved(Guidance):
    """p(y | x_t) ~ N(y; A x_t / alpha_t, Sigma_y + gamma_t^2 A A^T), gamma_t = sigma_t / alpha_t: no Jacobian.

    grad log p(y | x_t) = A^T (Sigma_y + gamma_t^2 A A^T)^-1 (y - A x_t / alpha_t) / alpha_t

    (Adam et al. 2022, appendix A). Exact for a flat prior: the likelihood of x_0 = x_t / alpha_t - gamma_t eps. For any
    other it says too little of y where gamma_t is as large as the data's spread.

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
        # the Gaussian that stands for other noise, at D: A x_t / alpha_t may be far from any signal
        noise = measurement.gaussian(at.mean.detach())
        weighed = measurement.gram_solve(residual, (at.sigma / at.alpha) ** 2, noise)
        return measurement.linear.transpose(weighed) / alpha
