"""Inverse problems: y = A(x) + n, and samples of p(x | y) with a denoiser as the prior.

`operators` and `methods` are dictionaries from a name to what makes an operator or a method.
"""

from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import Guidance, GuidedDenoiser
from diffusion_lit.inverse.measurement import GaussianNoise, Measurement
from diffusion_lit.inverse.methods import methods
from diffusion_lit.inverse.operators import Inpainting, LinearOperator, MatrixOperator, Operator, Separable, operators

__all__ = [
    "GaussianNoise",
    "Guidance",
    "GuidedDenoiser",
    "Inpainting",
    "LinearOperator",
    "MatrixOperator",
    "Measurement",
    "Method",
    "Operator",
    "Separable",
    "methods",
    "operators",
]
