"""How a denoiser becomes samples: one family a file, one contract for all."""

from diffusion_lit.samplers.ancestral import DDIM, DDPM
from diffusion_lit.samplers.base import Sampler
from diffusion_lit.samplers.dpm import DPMSolverPP
from diffusion_lit.samplers.edm import Euler, Heun
from diffusion_lit.samplers.grids import Karras, LogSNR, Quadratic, Uniform

__all__ = ["DDIM", "DDPM", "DPMSolverPP", "Euler", "Heun", "Karras", "LogSNR", "Quadratic", "Sampler", "Uniform"]
