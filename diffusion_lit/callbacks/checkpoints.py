"""Checkpoints: saved by images seen, written aside, and complete enough for `diffusion_lit.load`."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from diffusion_lit.callbacks.every import passed, whole_step
from diffusion_lit.files import writing

__all__ = ["Checkpoints"]


class Checkpoints(Checkpoint):
    """Write last.ckpt every so many images and at the end of training; keep some for good.

    Args:
        folder: where the checkpoints are.
        every: images between two last.ckpt.
        keep_every: images between two checkpoints that are kept as images-<images seen>.ckpt; None keeps none.
    """

    def __init__(self, folder: str, every: int, keep_every: int | None = None):
        self.folder, self.every, self.keep_every = Path(folder), every, keep_every
        self.description: dict[str, Any] = {}
        self._saved_at = -1

    def describe(self, model: Any, shape: Sequence[int]) -> None:
        """Tell what every checkpoint shall say of itself, so that `diffusion_lit.load` needs nothing else.

        Args:
            model: the plain configuration of the denoiser.
            shape: (C, H, W) of the images.
        """
        self.description = {"model": model, "shape": list(shape)}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not whole_step(trainer, batch_idx):
            return
        module: Any = pl_module
        images_seen, step = module.images_seen, module.images_per_step
        if passed(self.keep_every, images_seen, step):
            self.save(trainer, self.folder / f"images-{images_seen:09d}.ckpt")
        if passed(self.every, images_seen, step) or trainer.should_stop:
            self.save_last(trainer, images_seen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self.save_last(trainer, module.images_seen)

    def save_last(self, trainer: Trainer, images_seen: int) -> None:
        if images_seen != self._saved_at:
            self.save(trainer, self.folder / "last.ckpt")
            self._saved_at = images_seen

    def save(self, trainer: Trainer, path: Path) -> None:
        """Save on all processes; what stood at `path` stays whole if the disk is full (UserError)."""
        # all processes take part, but only the first one writes and has something to rename
        with writing(path) if trainer.is_global_zero else nullcontext(path) as aside:
            trainer.save_checkpoint(aside)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        module: Any = pl_module
        checkpoint["diffusion_lit"] = self.description | {"images_seen": module.images_seen}
