"""Pseudo-inverse guided diffusion (Song et al. 2023, PiGDM), the form for noisy measurements."""

from diffusion_lit.denoise import Batch
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["PiGDM"]


class PiGDM(Guidance):
    """p(x_0 | x_t) ~ N(D, r^2 I) with the variance that isotropic data would leave: exact for such data.

    grad log p(y | x_t) = J^T A^T (r^2 A A^T + Sigma_y)^-1 (y - A D)   (Song et al. 2023, eq. 7)
    r^2 = s^2 v / (s^2 + v),  s = sigma_t / alpha_t                        (their r_t for v = 1, section 3.3)

    Args:
        steps: of the default sampler.
        data_variance: v, of a pixel of the data; the paper's is 1.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, data_variance: float = 1.0, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=1)
        if data_variance <= 0:
            raise UserError(f"data_variance: {data_variance} <= 0; give the mean variance of a pixel of the data")
        self.data_variance = data_variance

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        operator, v = measurement.linear, self.data_variance
        noise = measurement.gaussian(at.mean.detach())
        spread = at.sigma**2 * v / (at.sigma**2 + at.alpha**2 * v)
        return at.vjp(operator.transpose(measurement.gram_solve(measurement.residual(at.mean), spread, noise)))
