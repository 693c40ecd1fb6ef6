"""Snapshots of the averaged weights, from which averages of any width are found after training (EDM2, section 3.2)."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from diffusion_lit.callbacks.ema import EMA
from diffusion_lit.callbacks.every import passed, whole_step
from diffusion_lit.errors import UserError
from diffusion_lit.files import writing
from diffusion_lit.profiles import Reconstruction, reconstruct

__all__ = ["Snapshot", "Snapshots", "read_snapshots", "synthesize"]


@dataclass(frozen=True)
class Snapshot:
    """The averages at one moment of a run.

    Args:
        step: optimiser steps so far; the unit of time of the profiles.
        images_seen: so far.
        averages: width -> parameter name -> averaged weights.
    """

    step: int
    images_seen: int
    averages: Mapping[float, Mapping[str, Tensor]]


class Snapshots(Callback):
    """Keep what the EMA callback before it has, every so many images and at the end of training.

    Args:
        folder: where the snapshots are, images-<images seen>.pt each; no half-written one ever stands there.
        every: images between two; sixteen or more in a run, or widths below 0.05 are out of reach.
    """

    def __init__(self, folder: str, every: int):
        self.folder, self.every = Path(folder), every

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        before = [c for c in callbacks[: callbacks.index(self)] if isinstance(c, EMA)]
        if not before or len(before[0].exponents) < 2:
            raise UserError(
                "snapshots need averages of at least two widths, updated before them: put callbacks.ema, with "
                "widths=[0.05,0.1], above callbacks.snapshots"
            )
        self.ema = before[0]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        if whole_step(trainer, batch_idx) and passed(self.every, module.images_seen, module.images_per_step):
            self.save(trainer, module.images_seen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self.save(trainer, module.images_seen)

    def save(self, trainer: Trainer, images_seen: int) -> None:
        """Write a snapshot; UserError if the disk is full. All processes take part, the first one writes."""
        averages = self.ema.whole()
        if trainer.is_global_zero:
            ema = {width: {k: v.cpu() for k, v in average.items()} for width, average in averages.items()}
            with writing(self.folder / f"images-{images_seen:09d}.pt") as aside:
                torch.save({"step": trainer.global_step, "images_seen": images_seen, "ema": ema}, aside)


def read_snapshots(folder: str | Path) -> list[Snapshot]:
    """The snapshots of a folder, from early to late; their tensors are read from the disk when they are used.

    Raises:
        UserError: there are none, or one is damaged.
    """
    snapshots: list[Snapshot] = []
    for file in sorted(Path(folder).glob("images-*.pt")):
        try:
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            snapshots.append(Snapshot(found["step"], found["images_seen"], found["ema"]))
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{file}: is damaged or not a snapshot ({reason}); remove it, and the others will be used"
            ) from error
    if not snapshots:
        raise UserError(
            f"{folder}: has no snapshots, and averages of other widths are found from nothing else; train with "
            f"callbacks=posthoc"
        )
    return sorted(snapshots, key=lambda snapshot: snapshot.step)


def synthesize(snapshots: list[Snapshot], width: float) -> tuple[dict[str, Tensor], Reconstruction]:
    """The average of this width at the last snapshot, and how it is made of those that were kept.

    Args:
        snapshots: from early to late.
        width: in (0, 0.28).
    """
    kept = [
        (snapshot.step, kept_width, average)
        for snapshot in snapshots
        for kept_width, average in snapshot.averages.items()
    ]
    made = reconstruct([k[0] for k in kept], [k[1] for k in kept], time=snapshots[-1].step, width=width)
    average: dict[str, Tensor] = {}
    for name, last in kept[-1][2].items():
        # in float64: coefficients of both signs and above 1 cancel
        whole = sum(c * one[name].double() for c, (_, _, one) in zip(made.coefficients, kept))
        assert isinstance(whole, Tensor)
        average[name] = whole.to(last.dtype)
    return average, made
