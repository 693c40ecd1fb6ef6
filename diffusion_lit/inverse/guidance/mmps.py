"""Moment-matching posterior sampling (Rozet et al. 2024, "Learning diffusion priors from observations by EM")."""

import torch
from torch import Tensor

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.solvers import minimal_residual
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["MMPS"]


class MMPS(Guidance):
    """p(x_0 | x_t) ~ N(D, C) with Tweedie's C = (sigma_t^2 / alpha_t) J: exact for Gaussian data.

    grad log p(y | x_t) = J^T A^T (Sigma_y + A C A^T)^-1 (y - A D)   (Rozet et al. 2024, section 4.2)

    The system is solved by minimal residuals, since the Jacobian of a network is not exactly symmetric. Each iteration
    costs one vector-Jacobian product; the last J^T A^T of the formula is a combination of theirs and costs none.

    Args:
        steps: of the default sampler.
        iterations: of the solver; exact when it reaches the number of measured entries.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, iterations: int = 3, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=iterations)
        if iterations < 1:
            raise UserError(f"iterations: {iterations} < 1; the solver takes at least one")
        self.iterations = iterations

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        operator, noise = measurement.linear, measurement.gaussian(at.mean.detach())
        tweedie = at.sigma**2 / at.alpha

        def covariance(p: Batch) -> tuple[Tensor, Tensor]:
            back = at.vjp(operator.transpose(p)).double()  # J^T A^T p
            return measurement.covary(p, noise) + expand(tweedie, p) * operator(back), back

        precision = torch.finfo(at.mean.dtype).eps
        return minimal_residual(covariance, measurement.residual(at.mean).double(), self.iterations, precision**0.5)
