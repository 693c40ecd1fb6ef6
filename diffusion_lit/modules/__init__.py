"""LightningModules: wrap a denoiser and an objective, nothing else."""

from diffusion_lit.modules.diffusion import DiffusionModule
from diffusion_lit.modules.learning_rate import WarmupCooldown

__all__ = ["DiffusionModule", "WarmupCooldown"]
