"""How a denoiser becomes samples: one family a file, one contract for all."""

from diffusion_lit.samplers.ancestral import DDIM, DDPM, Fixed, Learned
from diffusion_lit.samplers.base import Sampler
from diffusion_lit.samplers.dpm import DPMSolverPP
from diffusion_lit.samplers.edm import Euler, Heun
from diffusion_lit.samplers.foellmer import Foellmer
from diffusion_lit.samplers.grids import Karras, LogSNR, Quadratic, SignalShare, Strided, Uniform
from diffusion_lit.samplers.langevin import ULA, AnnealedLangevin, ConsistentAnnealed, Langevin
from diffusion_lit.samplers.metropolis import MALA
from diffusion_lit.samplers.multistep import ExponentialAB
from diffusion_lit.samplers.rk45 import RK45
from diffusion_lit.samplers.sde import EulerMaruyama, PredictorCorrector, ReverseDiffusion
from diffusion_lit.samplers.step_sizes import Annealed, Constant, Relative, SignalToNoise

__all__ = [
    "DDIM",
    "DDPM",
    "MALA",
    "RK45",
    "ULA",
    "Annealed",
    "AnnealedLangevin",
    "ConsistentAnnealed",
    "Constant",
    "DPMSolverPP",
    "Euler",
    "EulerMaruyama",
    "ExponentialAB",
    "Fixed",
    "Foellmer",
    "Heun",
    "Karras",
    "Langevin",
    "Learned",
    "LogSNR",
    "PredictorCorrector",
    "Quadratic",
    "Relative",
    "ReverseDiffusion",
    "Sampler",
    "SignalShare",
    "SignalToNoise",
    "Strided",
    "Uniform",
]
