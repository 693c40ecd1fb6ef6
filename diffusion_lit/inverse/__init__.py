"""Inverse problems: y = A(x) + n, and samples of p(x | y) with a denoiser as the prior.

`methods` is a dictionary from a name to what makes a method; `operators.operators`, which is not imported here because
it would hide its own package from Hydra's `_target_: diffusion_lit.inverse.operators...`, is the operators'.
"""

from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import Guidance, GuidedDenoiser
from diffusion_lit.inverse.measurement import Measurement
from diffusion_lit.inverse.methods import methods
from diffusion_lit.inverse.noise import (
    CorrelatedNoise,
    DiagonalNoise,
    Gaussian,
    GaussianNoise,
    LaplaceNoise,
    Noise,
    NoNoise,
    PoissonNoise,
)
from diffusion_lit.inverse.operators import Inpainting, LinearOperator, MatrixOperator, Operator, Separable

__all__ = [
    "CorrelatedNoise",
    "DiagonalNoise",
    "Gaussian",
    "GaussianNoise",
    "Guidance",
    "GuidedDenoiser",
    "Inpainting",
    "LaplaceNoise",
    "LinearOperator",
    "MatrixOperator",
    "Measurement",
    "Method",
    "NoNoise",
    "Noise",
    "Operator",
    "PoissonNoise",
    "Separable",
    "methods",
]
