"""Progress on the terminal and in the loggers: images seen, images a second, time left, loss."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from diffusion_lit.callbacks.every import passed, whole_step

__all__ = ["ProgressBar", "TrainingLog"]


class TrainingLog(Callback):
    """Log the mean loss and the learning rate every so many images.

    The sum since the last line is part of the checkpoint, so a run that was killed and went on logs the same lines.

    Args:
        every: images between two lines.
    """

    def __init__(self, every: int):
        self.every = every
        self.total: Tensor | float = 0.0
        self.batches = 0
        self._since = (time.perf_counter(), 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self._since = (time.perf_counter(), module.images_seen)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        self.total = self.total + outputs["loss"].detach().double()
        self.batches += 1
        images_seen = module.images_seen
        if not (whole_step(trainer, batch_idx) and passed(self.every, images_seen, module.images_per_step)):
            return
        mean = trainer.strategy.reduce(torch.as_tensor(self.total) / self.batches, reduce_op="mean")
        now, (before, images_before) = time.perf_counter(), self._since
        line = {
            "images_seen": images_seen,
            "train/loss": float(mean),
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/images_per_second": (images_seen - images_before) / (now - before),
        }
        for logger in trainer.loggers:
            logger.log_metrics(line, step=trainer.global_step)
        self.total, self.batches, self._since = 0.0, 0, (time.perf_counter(), images_seen)

    def state_dict(self) -> dict[str, Any]:
        return {"total": float(self.total), "batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total, self.batches = state_dict["total"], state_dict["batches"]


class ProgressBar(Callback):
    """One line on the terminal: images seen of all, images a second, time left, loss.

    Args:
        max_images: where training ends.
    """

    def __init__(self, max_images: int):
        self.max_images = max_images
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self.bar = tqdm(
            total=self.max_images,
            initial=module.images_seen,
            desc="training",
            unit="img",
            unit_scale=True,
            mininterval=1.0,
            dynamic_ncols=True,
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        if self.bar is not None and self.bar.update(module.images_seen - self.bar.n):  # it was redrawn: now and then
            self.bar.set_postfix_str(f"loss {float(outputs['loss']):.4f}", refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)
