"""A small stage for callbacks: the digits, a tiny denoiser, a Trainer without anything else."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import NetworkDenoiser, Preconditioning
from diffusion_lit.modules import DiffusionModule, WarmupCooldown
from diffusion_lit.networks.unet import UNet
from diffusion_lit.noise import EDM
from diffusion_lit.objectives import DenoisingScoreMatching

LIGHTNING = [
    "ignore:.*LeafSpec:FutureWarning",
    "ignore:.*does not have many workers",
    "ignore:.*but have no `validation_step`",
    "ignore:.*`srun` command is available",
    "ignore:.*isn't a directory|.*exists and is not empty",
]


def make_module(batch_size: int = 16, **changes: Any) -> DiffusionModule:
    torch.manual_seed(0)
    network = UNet(channels=1, size=(8, 8), width=8, multipliers=(1,), blocks=1, attention=(), fold=0)
    return DiffusionModule(
        NetworkDenoiser(network, EDM(), Preconditioning.edm(0.6)),
        DenoisingScoreMatching(),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        WarmupCooldown(max_images=1_000_000),
        batch_size,
        **changes,
    )


def fit(
    folder: Path, root: str, module: DiffusionModule, callbacks: list[Callback], steps: int, **more: Any
) -> Trainer:
    """Train for some steps; `ckpt_path` goes on from a checkpoint."""
    start = more.pop("ckpt_path", None)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        max_steps=steps,
        logger=more.pop("logger", False),
        callbacks=callbacks,
        limit_val_batches=0,
        enable_checkpointing=any(type(c).__name__ == "Checkpoints" for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **more,
    )
    trainer.fit(module, datamodule=ShardsDataModule(root, module.batch_size), ckpt_path=start, weights_only=True)
    return trainer
