"""Methods with a step of their own, one a file."""

from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.posterior.dps import DPS
from diffusion_lit.inverse.posterior.metropolis import PathMetropolis
from diffusion_lit.inverse.posterior.repaint import RePaint
from diffusion_lit.inverse.posterior.replacement import Replacement
from diffusion_lit.inverse.posterior.resampled import PathResampling

__all__ = ["DPS", "PathMetropolis", "PathResampling", "RePaint", "Replacement", "Stepwise"]
