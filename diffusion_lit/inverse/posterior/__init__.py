"""Methods with a step of their own, one a file."""

from diffusion_lit.inverse.posterior.base import Stepwise
from diffusion_lit.inverse.posterior.copaint import CoPaint
from diffusion_lit.inverse.posterior.daps import DAPS
from diffusion_lit.inverse.posterior.ddnm import DDNM, DDNMPlus
from diffusion_lit.inverse.posterior.ddrm import DDRM
from diffusion_lit.inverse.posterior.diffpir import DiffPIR
from diffusion_lit.inverse.posterior.fps import FPS
from diffusion_lit.inverse.posterior.gradpaint import GradPaint
from diffusion_lit.inverse.posterior.ilvr import ILVR
from diffusion_lit.inverse.posterior.mcg import MCG
from diffusion_lit.inverse.posterior.mcgdiff import MCGDiff
from diffusion_lit.inverse.posterior.metropolis import PathMetropolis
from diffusion_lit.inverse.posterior.plug_and_play import PlugAndPlay
from diffusion_lit.inverse.posterior.pnp_dm import PnPDM
from diffusion_lit.inverse.posterior.population import Population
from diffusion_lit.inverse.posterior.red_diff import REDDiff
from diffusion_lit.inverse.posterior.repaint import RePaint
from diffusion_lit.inverse.posterior.replacement import Replacement
from diffusion_lit.inverse.posterior.resampled import PathResampling
from diffusion_lit.inverse.posterior.score_sde_projection import ScoreSDEProjection
from diffusion_lit.inverse.posterior.snips import SNIPS
from diffusion_lit.inverse.posterior.tds import TDS
from diffusion_lit.inverse.posterior.twists import IsotropicTwist, TweedieTwist, Twist

__all__ = [
    "DAPS",
    "DDNM",
    "DDRM",
    "FPS",
    "ILVR",
    "MCG",
    "SNIPS",
    "TDS",
    "CoPaint",
    "DDNMPlus",
    "DiffPIR",
    "GradPaint",
    "IsotropicTwist",
    "MCGDiff",
    "PathMetropolis",
    "PathResampling",
    "PlugAndPlay",
    "PnPDM",
    "Population",
    "REDDiff",
    "RePaint",
    "Replacement",
    "ScoreSDEProjection",
    "Stepwise",
    "TweedieTwist",
    "Twist",
]
