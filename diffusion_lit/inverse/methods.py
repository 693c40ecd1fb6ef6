"""Posterior methods by name: methods["mmps"](steps=100)(denoiser, measurement, samples=16, seed=0)."""

from diffusion_lit.inverse.auto import Auto
from diffusion_lit.inverse.base import Method
from diffusion_lit.inverse.guidance import ALD, DPS, JFPS, MMPS, SDA, TMPD, Convolved, PiGDM, TractableSteering
from diffusion_lit.inverse.posterior import (
    DAPS,
    DDNM,
    DDRM,
    FPS,
    ILVR,
    MCG,
    SNIPS,
    TDS,
    CoPaint,
    DDNMPlus,
    DiffPIR,
    GradPaint,
    MCGDiff,
    PathMetropolis,
    PathResampling,
    PlugAndPlay,
    PnPDM,
    REDDiff,
    RePaint,
    Replacement,
    ScoreSDEProjection,
)

__all__ = ["Method", "methods"]

methods: dict[str, type[Method]] = {
    "auto": Auto,
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
    "daps": DAPS,
    "pnp_dm": PnPDM,
    "red_diff": REDDiff,
    "gradpaint": GradPaint,
    "copaint": CoPaint,
}
