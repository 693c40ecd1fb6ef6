"""LightningModules: wrap a denoiser and an objective, nothing else; and how their weights are shared out."""

from diffusion_lit.modules.diffusion import DiffusionModule
from diffusion_lit.modules.learning_rate import WarmupCooldown
from diffusion_lit.modules.sharding import Sharded

__all__ = ["DiffusionModule", "Sharded", "WarmupCooldown"]
