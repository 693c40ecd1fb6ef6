"""What training minimises: one family a file. An objective maps data to one loss a sample."""

from diffusion_lit.objectives.denoising import DenoisingScoreMatching
from diffusion_lit.objectives.times import DiscreteTime, FixedTime, Ladder, LogNormal, LogSNRUniform, UniformTime
from diffusion_lit.objectives.weightings import (
    EDMWeighting,
    EpsWeighting,
    ImportanceWeighting,
    LikelihoodWeighting,
    MinSNRWeighting,
    VWeighting,
    X0Weighting,
)

__all__ = [
    "DenoisingScoreMatching",
    "DiscreteTime",
    "EDMWeighting",
    "EpsWeighting",
    "FixedTime",
    "ImportanceWeighting",
    "Ladder",
    "LikelihoodWeighting",
    "LogNormal",
    "LogSNRUniform",
    "MinSNRWeighting",
    "UniformTime",
    "VWeighting",
    "X0Weighting",
]
