"""Trajectories: Markov chains, denoisers of any length composed of windows, and particle filters to compare with."""

from diffusion_lit.assimilation.chains import Chain, LinearChain, Lorenz63, Windows
from diffusion_lit.assimilation.particles import BootstrapFilter, Filtered
from diffusion_lit.assimilation.windows import WindowedDenoiser

__all__ = ["BootstrapFilter", "Chain", "Filtered", "LinearChain", "Lorenz63", "WindowedDenoiser", "Windows"]
