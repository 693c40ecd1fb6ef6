"""Tweedie's formulas: what the score of noisy data says of the clean ones.

The mean E[x_0 | x_t] is the denoiser itself; here are the covariance, the other exponential families, and a score from
nothing but a sample.
"""

from diffusion_lit.tweedie.families import ExponentialFamily, robbins
from diffusion_lit.tweedie.lindsey import Lindsey, NaturalSpline, Polynomial
from diffusion_lit.tweedie.posterior import covariance, estimated_variance, variance

__all__ = [
    "ExponentialFamily",
    "Lindsey",
    "NaturalSpline",
    "Polynomial",
    "covariance",
    "estimated_variance",
    "robbins",
    "variance",
]
