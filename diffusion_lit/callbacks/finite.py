"""Stop at the first loss that is not a number, with all that is needed to replay it."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from diffusion_lit.errors import UserError
from diffusion_lit.files import writing
from diffusion_lit.randomness import weyl

__all__ = ["FiniteLoss"]


class FiniteLoss(Callback):
    """Before each optimiser step, check that its losses are finite; if not, save the batch and stop.

    The file holds the batch (images, ids, positions), the seed, the times, the log-SNRs and the weights before the
    step: with them `module.losses(batch)` gives the same losses again.

    A GPU is asked right after the forward pass and waited for after the backward pass has been queued, so that it is
    never idle for it.

    Args:
        folder: where `nonfinite-<images seen>.pt` is written.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.batch: Any = None
        self.parts: list[tuple[Any, Tensor, _OnItsWay]] = []  # of a step: batch, loss, whether it is finite

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        loss = loss.detach()
        self.parts.append((self.batch, loss, _OnItsWay(torch.isfinite(loss))))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        parts, self.parts = self.parts, []
        for batch, loss, finite in parts:
            if not finite.value():
                self._stop(trainer, pl_module, batch, loss)

    def _stop(self, trainer: Trainer, pl_module: LightningModule, batch: Any, loss: Tensor) -> NoReturn:
        module: Any = pl_module
        images_seen, positions = module.images_seen, batch["position"]
        schedule = module.denoiser.schedule
        times = module.objective.times(weyl(module.seed, positions), schedule)
        replay = {
            "batch": batch,
            "seed": module.seed,
            "times": times,
            "log_snr": schedule.log_snr(times),
            "loss": loss,
            "images_seen": images_seen,
            "state_dict": pl_module.state_dict(),
        }
        path = self.folder / f"nonfinite-{images_seen:09d}-rank{trainer.global_rank}.pt"
        with writing(path) as aside:
            torch.save(replay, aside)
        low, high = float(replay["log_snr"].min()), float(replay["log_snr"].max())
        raise UserError(
            f"the loss is {float(loss)} after {images_seen} images (ids {batch['id'][:4].tolist()}..., "
            f"log-SNR from {low:.1f} to {high:.1f}). Batch, seed, times and weights are in {path} for a replay; "
            f"usual cures are a lower model.optimizer.lr, a longer model.learning_rate.warmup, or "
            f"trainer.gradient_clip_val=1. Checkpoints are untouched."
        )


class _OnItsWay:
    """A truth value that travels from the device while the host goes on."""

    def __init__(self, value: Tensor):
        self._copy = value.to("cpu", non_blocking=True)
        self._arrives = torch.cuda.current_stream(value.device).record_event() if value.is_cuda else None

    def value(self) -> bool:
        """Wait for what the device had to do before it, and no more."""
        if self._arrives is not None:
            self._arrives.synchronize()
        return bool(self._copy)
