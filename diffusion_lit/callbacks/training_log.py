"""Progress on the terminal and in the loggers: images seen, images a second, time left, loss."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from diffusion_lit.callbacks.every import passed, whole_step
from diffusion_lit.randomness import digest

__all__ = ["ProgressBar", "TrainingLog"]


class TrainingLog(Callback):
    """Log the mean loss, the learning rate and what was learnt from every so many images.

    `train/images_digest` (32 bits) names the set of (position, id) since the last line: two runs that log the same
    numbers have seen the same images at the same places, on however many processes. The sums since the last line are
    part of the checkpoint, so a run that was killed and went on logs the same lines.

    Args:
        every: images between two lines.
    """

    def __init__(self, every: int):
        self.every = every
        self.total: Tensor | float = 0.0  # of the steps' losses, this process's share
        self.digest: Tensor | int = 0
        self.steps = 0
        self._since = (time.perf_counter(), 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self._since = (time.perf_counter(), module.images_seen)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        self.total = self.total + outputs["loss"].detach().double()  # Lightning has divided it by the parts of a step
        names = [batch[key] for key in ("position", "id") if key in batch]  # what is drawn, not read, has no ids
        self.digest = self.digest + digest(torch.stack(names, 1))
        if not whole_step(trainer, batch_idx):
            return
        self.steps += 1
        images_seen = module.images_seen
        if not passed(self.every, images_seen, module.images_per_step):
            return
        total, images = self._over_all(trainer)
        now, (before, images_before) = time.perf_counter(), self._since
        line = {
            "images_seen": images_seen,
            "train/loss": total / self.steps,
            "train/learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train/images_digest": images & 0xFFFFFFFF,
            "train/images_per_second": (images_seen - images_before) / (now - before),
        }
        for logger in trainer.loggers:
            logger.log_metrics(line, step=trainer.global_step)
        self.total, self.digest, self.steps, self._since = 0.0, 0, 0, (time.perf_counter(), images_seen)

    def _over_all(self, trainer: Trainer) -> tuple[float, int]:
        """The mean of the processes' totals and the sum of their digests, modulo 2^64; collective."""
        device = trainer.strategy.root_device
        # copies: a reduction writes into its tensor, and this process goes on with its own share
        total = torch.as_tensor(self.total, dtype=torch.float64, device=device).clone()
        images = torch.as_tensor(self.digest, dtype=torch.int64, device=device).clone()
        mean = trainer.strategy.reduce(total, reduce_op="mean")
        return float(mean), int(trainer.strategy.reduce(images, reduce_op="sum"))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        total, images = self._over_all(trainer)
        checkpoint["training_log"] = {"total": total, "digest": images, "steps": self.steps}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get("training_log", {"total": 0.0, "digest": 0, "steps": 0})
        self.total, self.steps = saved["total"], saved["steps"]
        self.digest = saved["digest"] if trainer.is_global_zero else 0


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
