"""Methods with a step of their own, one a file."""

from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.posterior.dps import DPS
from diffusion_lit.inverse.posterior.fps import FPS
from diffusion_lit.inverse.posterior.mcgdiff import MCGDiff
from diffusion_lit.inverse.posterior.metropolis import PathMetropolis
from diffusion_lit.inverse.posterior.population import Population
from diffusion_lit.inverse.posterior.repaint import RePaint
from diffusion_lit.inverse.posterior.replacement import Replacement
from diffusion_lit.inverse.posterior.resampled import PathResampling
from diffusion_lit.inverse.posterior.tds import TDS
from diffusion_lit.inverse.posterior.twists import IsotropicTwist, TweedieTwist, Twist

__all__ = [
    "DPS",
    "FPS",
    "TDS",
    "IsotropicTwist",
    "MCGDiff",
    "PathMetropolis",
    "PathResampling",
    "Population",
    "RePaint",
    "Replacement",
    "Stepwise",
    "TweedieTwist",
    "Twist",
]
