"""Posterior methods by name: methods["mmps"](steps=100)(denoiser, measurement, samples=16, seed=0)."""

from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import MMPS, SDA, PiGDM, TractableSteering
from diffusion_lit.inverse.posterior import DPS, FPS, TDS, MCGDiff, PathMetropolis, PathResampling, RePaint, Replacement

__all__ = ["Method", "methods"]

methods: dict[str, type[Method]] = {
    "replacement": Replacement,
    "repaint": RePaint,
    "dps": DPS,
    "pigdm": PiGDM,
    "mmps": MMPS,
    "path_metropolis": PathMetropolis,
    "path_resampling": PathResampling,
    "tds": TDS,
    "mcgdiff": MCGDiff,
    "fps": FPS,
    "tractable_steering": TractableSteering,
    "sda": SDA,
}
