"""What training minimises: one family a file. An objective maps data to one loss a sample."""

from diffusion_lit.objectives.base import Objective
from diffusion_lit.objectives.denoising import DenoisingScoreMatching
from diffusion_lit.objectives.dropout import ConditionDropout
from diffusion_lit.objectives.implicit import ImplicitScoreMatching, SlicedScoreMatching
from diffusion_lit.objectives.second_moment import LossSecondMoment
from diffusion_lit.objectives.times import DiscreteTime, FixedTime, Ladder, LogNormal, LogSNRUniform, UniformTime
from diffusion_lit.objectives.variational import (
    Continuous,
    Discretised,
    FixedVariance,
    Hybrid,
    LearnedVariance,
    Variational,
)
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
    "ConditionDropout",
    "Continuous",
    "DenoisingScoreMatching",
    "DiscreteTime",
    "Discretised",
    "EDMWeighting",
    "EpsWeighting",
    "FixedTime",
    "FixedVariance",
    "Hybrid",
    "ImplicitScoreMatching",
    "ImportanceWeighting",
    "Ladder",
    "LearnedVariance",
    "LikelihoodWeighting",
    "LogNormal",
    "LogSNRUniform",
    "LossSecondMoment",
    "MinSNRWeighting",
    "Objective",
    "SlicedScoreMatching",
    "UniformTime",
    "VWeighting",
    "Variational",
    "X0Weighting",
]
