"""Other people's checkpoints as denoisers: a function that predicts eps, x0, v or a score, or a diffusers folder."""

from diffusion_lit.adapters.diffusers import DiffusersFolder, load_diffusers
from diffusion_lit.adapters.function import FunctionDenoiser

__all__ = ["DiffusersFolder", "FunctionDenoiser", "load_diffusers"]
