"""Tweedie moment projected diffusion (Boys et al. 2023, TMPD)."""

import torch

from diffusion_lit.denoise import Batch, expand
from diffusion_lit.inverse.guidance.base import Guidance
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.operators.linear import LinearOperator
from diffusion_lit.inverse.tangent import Tangent
from diffusion_lit.samplers import Sampler

__all__ = ["TMPD"]


class TMPD(Guidance):
    """p(x_0 | x_t) ~ N(D, C) with Tweedie's C = (sigma_t^2 / alpha_t) J, of which y hears the row sums only.

    grad log p(y | x_t) = J^T A^T [(y - A D) / ((Sigma_y + A C A^T) 1)]   (Boys et al. 2023)

    The sum of a row stands for its diagonal, as in their released code, for one product with J in place of d_y. That is
    exact for one measured value, and good where the entries of A C A^T are positive and mostly on the diagonal. Entries
    that oppose each other make a row sum small, and the pull unbounded, or negative, and y repels: so it can blow up
    for d_y >= 2.

    Args:
        steps: of the default sampler.
        sampler: in place of the default.
    """

    needs = LinearOperator

    def __init__(self, steps: int = 100, sampler: Sampler | None = None):
        super().__init__(steps, sampler, vjps_per_call=2)

    def likelihood_score(self, at: Tangent, measurement: Measurement) -> Batch:
        operator, noise = measurement.linear, measurement.gaussian(at.mean.detach())
        residual = measurement.residual(at.mean.detach()).double()
        ones = operator.place(operator.observe(torch.ones_like(residual)))
        back = at.vjp(operator.transpose(ones)).double()  # J^T A^T 1
        rows = measurement.covary(ones, noise) + expand(at.sigma**2 / at.alpha, residual) * operator(back)
        return at.vjp(operator.transpose(torch.where(ones > 0, residual / rows.where(ones > 0, 1.0), 0.0)))
