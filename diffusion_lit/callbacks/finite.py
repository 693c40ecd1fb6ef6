"""Stop at the first loss that is not a number, with all that is needed to replay it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from diffusion_lit.errors import UserError
from diffusion_lit.files import writing
from diffusion_lit.randomness import weyl

__all__ = ["FiniteLoss"]


class FiniteLoss(Callback):
    """Before each backward pass, check that the loss is finite; if not, save the batch and stop.

    The file holds the batch (images, ids, positions), the seed, the times, the log-SNRs and the weights before the
    step: with them `module.losses(batch)` gives the same losses again.

    Args:
        folder: where `nonfinite-<images seen>.pt` is written.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.batch: Any = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        module: Any = pl_module
        images_seen, positions = module.images_seen, self.batch["position"]
        schedule = module.denoiser.schedule
        times = module.objective.times(weyl(module.seed, positions), schedule)
        replay = {
            "batch": self.batch,
            "seed": module.seed,
            "times": times,
            "log_snr": schedule.log_snr(times),
            "loss": loss.detach(),
            "images_seen": images_seen,
            "state_dict": pl_module.state_dict(),
        }
        path = self.folder / f"nonfinite-{images_seen:09d}-rank{trainer.global_rank}.pt"
        with writing(path) as aside:
            torch.save(replay, aside)
        low, high = float(replay["log_snr"].min()), float(replay["log_snr"].max())
        raise UserError(
            f"the loss is {float(loss.detach())} after {images_seen} images (ids {self.batch['id'][:4].tolist()}..., "
            f"log-SNR from {low:.1f} to {high:.1f}). Batch, seed, times and weights are in {path} for a replay; "
            f"usual cures are a lower model.optimizer.lr, a longer model.learning_rate.warmup, or "
            f"trainer.gradient_clip_val=1. Checkpoints are untouched."
        )
