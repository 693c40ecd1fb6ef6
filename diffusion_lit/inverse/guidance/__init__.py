"""D -> D_y: one rule a file."""

from diffusion_lit.inverse.guidance.ald import ALD
from diffusion_lit.inverse.guidance.base import Guidance, GuidedDenoiser
from diffusion_lit.inverse.guidance.convolved import Convolved
from diffusion_lit.inverse.guidance.dps import DPS, LineSearch, Published, StepRule
from diffusion_lit.inverse.guidance.jfps import JFPS, DataCovariance
from diffusion_lit.inverse.guidance.mmps import MMPS
from diffusion_lit.inverse.guidance.pigdm import PiGDM
from diffusion_lit.inverse.guidance.sda import SDA, ByNoise
from diffusion_lit.inverse.guidance.tmpd import TMPD
from diffusion_lit.inverse.guidance.tractable_steering import TractableSteering

__all__ = [
    "ALD",
    "DPS",
    "JFPS",
    "MMPS",
    "SDA",
    "TMPD",
    "ByNoise",
    "Convolved",
    "DataCovariance",
    "Guidance",
    "GuidedDenoiser",
    "LineSearch",
    "PiGDM",
    "Published",
    "StepRule",
    "TractableSteering",
]
