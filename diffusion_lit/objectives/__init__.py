"""What training minimises: one family a file. An objective maps data to one loss a sample."""

from diffusion_lit.objectives.denoising import DenoisingScoreMatching
from diffusion_lit.objectives.times import LogNormal, LogSNRUniform, UniformTime
from diffusion_lit.objectives.weightings import EDMWeighting, EpsWeighting, VWeighting, X0Weighting

__all__ = [
    "DenoisingScoreMatching",
    "EDMWeighting",
    "EpsWeighting",
    "LogNormal",
    "LogSNRUniform",
    "UniformTime",
    "VWeighting",
    "X0Weighting",
]
