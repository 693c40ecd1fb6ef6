"""Posterior methods by name: methods["mmps"](steps=100)(denoiser, measurement, samples=16, seed=0)."""

from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import ALD, DPS, JFPS, MMPS, SDA, TMPD, Convolved, PiGDM, TractableSteering
from diffusion_lit.inverse.posterior import (
    DDNM,
    DDRM,
    FPS,
    ILVR,
    MCG,
    SNIPS,
    TDS,
    DDNMPlus,
    DiffPIR,
    MCGDiff,
    PathMetropolis,
    PathResampling,
    PlugAndPlay,
    RePaint,
    Replacement,
    ScoreSDEProjection,
)

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
    "ald": ALD,
    "convolved": Convolved,
    "tmpd": TMPD,
    "jfps": JFPS,
    "score_sde_projection": ScoreSDEProjection,
    "ilvr": ILVR,
    "mcg": MCG,
    "plug_and_play": PlugAndPlay,
    "ddrm": DDRM,
    "snips": SNIPS,
    "ddnm": DDNM,
    "ddnm_plus": DDNMPlus,
    "diffpir": DiffPIR,
}
