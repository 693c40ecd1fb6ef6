"""Checkpoints: saved by images seen and by minutes, written aside, and complete enough for `diffusion_lit.load`."""

import os
import shutil
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from diffusion_lit import __version__
from diffusion_lit.callbacks.evaluation import Periodic
from diffusion_lit.callbacks.every import passed, whole_step
from diffusion_lit.callbacks.minutes import Minutes
from diffusion_lit.callbacks.record import Record
from diffusion_lit.checkpoint import FORMAT, LAST, PREVIOUS
from diffusion_lit.errors import UserError
from diffusion_lit.files import writing
from diffusion_lit.tracking.words import quantity

__all__ = ["Checkpoints"]


class Checkpoints(Checkpoint):
    """Write last.ckpt every so many images or minutes and at the end of training; keep some for good.

    What stood there before stays as previous.ckpt: a run whose newest checkpoint is damaged goes on from it. A save
    that fails while training, such as on a full disk, is told and tried again at the next turn; the last one raises.

    Args:
        folder: where the checkpoints are.
        every: images between two last.ckpt.
        minutes: and minutes at most; None counts images only.
        keep_every: images between two checkpoints that are kept as images-<images seen>.ckpt; None keeps none.
        keep: how many of those are kept, the newest; None keeps all.
        best: a metric of the periodic evaluations, such as "restoration/box12/pigdm/ema-0.05/psnr"; where it was best
            is kept as best.ckpt. None keeps none.
    """

    def __init__(
        self,
        folder: str,
        every: int,
        minutes: float | None = None,
        keep_every: int | None = None,
        keep: int | None = None,
        best: str | None = None,
    ):
        self.folder, self.every, self.keep_every, self.keep, self.best = Path(folder), every, keep_every, keep, best
        self.clock = Minutes(minutes)
        self.best_value: float | None = None
        self.description: dict[str, Any] = {}
        self._saved_at = -1

    def describe(self, model: Any, shape: Sequence[int]) -> None:
        """Tell what every checkpoint shall say of itself, so that `diffusion_lit.load` needs nothing else.

        Args:
            model: the plain configuration of the denoiser.
            shape: (C, H, W) of the images.
        """
        self.description = {"model": model, "shape": list(shape)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.clock.restart()
        if trainer.is_global_zero:
            for half in self.folder.glob(".*.part"):  # of an attempt that was killed while it wrote
                half.unlink(missing_ok=True)
        module: Any = pl_module
        if self._is_better(trainer, module.images_seen):  # an evaluation that was left before and was run now
            self.save_last(trainer, module.images_seen)
            if trainer.is_global_zero:
                self._copy(self.folder / "best.ckpt")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not whole_step(trainer, batch_idx):
            return
        module: Any = pl_module
        images_seen, step = module.images_seen, module.images_per_step
        late = self.clock.passed(trainer.strategy.broadcast)  # asked always, for it may be collective
        keep, better = passed(self.keep_every, images_seen, step), self._is_better(trainer, images_seen)
        if not (late or keep or better or passed(self.every, images_seen, step) or trainer.should_stop):
            return
        try:
            if not self.save_last(trainer, images_seen):
                return
        except UserError as error:
            warnings.warn(f"{error} Training goes on, and saves again at its next turn.", stacklevel=1)
            return
        if trainer.is_global_zero and keep:
            self._copy(self.folder / f"images-{images_seen:09d}.ckpt")
            kept = sorted(self.folder.glob("images-*.ckpt"))
            for old in kept[: -self.keep] if self.keep else []:
                old.unlink()
        if trainer.is_global_zero and better:
            self._copy(self.folder / "best.ckpt")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self.save_last(trainer, module.images_seen)

    def save_last(self, trainer: Trainer, images_seen: int) -> bool:
        """Save on all processes; collective. Return whether it succeeded, which all of them know.

        Raises:
            UserError: on the first process, if the disk is full; what stood there is whole.
        """
        if images_seen == self._saved_at:
            return True
        met, failure = False, None
        try:
            # all processes take part, but only the first one writes and has something to rename
            with writing(self.folder / LAST) if trainer.is_global_zero else nullcontext(self.folder / LAST) as aside:
                trainer.save_checkpoint(aside)
                met = True
                if trainer.is_global_zero and (self.folder / LAST).exists():
                    self._copy(self.folder / PREVIOUS)
        except UserError as error:
            failure = error
            if not met:
                trainer.strategy.barrier()  # where the others wait since they have nothing to write
        self.clock.restart()
        # or the others would take the next try, in which all take part, for done
        saved = trainer.strategy.broadcast(failure is None)
        if failure is not None:
            raise failure
        if not saved:
            return False
        self._saved_at = images_seen
        for callback in trainer.callbacks if trainer.is_global_zero else ():  # type: ignore[attr-defined]
            if isinstance(callback, Record):
                callback.saved(images_seen)
        return True

    def _copy(self, path: Path) -> None:
        """Give last.ckpt another name, which it keeps when it is replaced."""
        with writing(path) as aside:
            try:
                os.link(self.folder / LAST, aside)
            except OSError:  # a file system without hard links
                shutil.copyfile(self.folder / LAST, aside)

    def _is_better(self, trainer: Trainer, images_seen: int) -> bool:
        """Whether an evaluation of this very step found a new best; the same on all processes, as its numbers are."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        found = [
            callback.latest[self.best]
            for callback in callbacks
            if isinstance(callback, Periodic) and callback.evaluated_at == images_seen and self.best in callback.latest
        ]
        if not found or self.best is None:
            return False
        sign = 1 if quantity(self.best).goal == "high" else -1
        if self.best_value is not None and sign * found[0] <= sign * self.best_value:
            return False
        self.best_value = found[0]
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value = state_dict.get("best_value")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        module: Any = pl_module
        facts = {"format": FORMAT, "version": __version__, "images_seen": module.images_seen}
        checkpoint["diffusion_lit"] = self.description | facts
