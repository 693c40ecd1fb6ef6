"""D -> D_y: one rule a file."""

from diffusion_lit.inverse.guidance.base import Guidance, GuidedDenoiser
from diffusion_lit.inverse.guidance.mmps import MMPS
from diffusion_lit.inverse.guidance.pigdm import PiGDM
from diffusion_lit.inverse.guidance.sda import SDA, ByNoise
from diffusion_lit.inverse.guidance.tractable_steering import TractableSteering

__all__ = ["MMPS", "SDA", "ByNoise", "Guidance", "GuidedDenoiser", "PiGDM", "TractableSteering"]
