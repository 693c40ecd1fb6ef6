"""Noise, one law a file."""

from diffusion_lit.inverse.noise.base import Gaussian, Noise
from diffusion_lit.inverse.noise.gaussian import CorrelatedNoise, DiagonalNoise, GaussianNoise, NoNoise
from diffusion_lit.inverse.noise.laplace import LaplaceNoise
from diffusion_lit.inverse.noise.poisson import PoissonNoise

__all__ = [
    "CorrelatedNoise",
    "DiagonalNoise",
    "Gaussian",
    "GaussianNoise",
    "LaplaceNoise",
    "NoNoise",
    "Noise",
    "PoissonNoise",
]
