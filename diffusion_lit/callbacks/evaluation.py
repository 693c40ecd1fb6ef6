"""An evaluation: numbers and pictures of a denoiser, at whatever moment somebody asks for them."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from diffusion_lit.callbacks.ema import EMA
from diffusion_lit.callbacks.every import passed, whole_step
from diffusion_lit.callbacks.heartbeat import Interrupted, beating
from diffusion_lit.callbacks.pictures import Picture
from diffusion_lit.callbacks.share import Share
from diffusion_lit.callbacks.stop import GracefulStop
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.denoise import Denoiser
from diffusion_lit.errors import UserError

__all__ = ["Evaluation", "Evaluator", "Periodic"]


@dataclass
class Evaluation:
    """What an evaluator found: metric name -> number, and pictures (of the first process)."""

    metrics: dict[str, float] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)


@runtime_checkable
class Evaluator(Protocol):
    """What `Periodic` needs: an object that evaluates this process's share and returns the numbers of all."""

    def __call__(self, denoiser: Denoiser, data: ShardsDataModule, share: Share, weights: str) -> Evaluation: ...


class Periodic(Callback):
    """Run an evaluator every so many images, and in `trainer.test`.

    One that a signal interrupts, or that is due when a signal has stopped training, is run when training goes on.

    Args:
        evaluator: what is run; all processes take part.
        folder: the run folder.
        every: images between two evaluations; None evaluates in `trainer.test` only.
        ema: width of the averaged weights to evaluate; None takes the weights of the last step.
    """

    def __init__(self, evaluator: Evaluator, folder: str, every: int | None = None, ema: float | None = None):
        self.evaluator, self.folder, self.every, self.ema = evaluator, Path(folder), every, ema
        self.latest: dict[str, float] = {}
        self.evaluated_at: int | None = -1  # images seen; None if a checkpoint does not tell

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if module.images_seen and self.evaluated_at not in (None, module.images_seen):
            self._evaluate_if_due(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if whole_step(trainer, batch_idx):
            self._evaluate_if_due(trainer, pl_module)

    def _evaluate_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if passed(self.every, module.images_seen, module.images_per_step):
            self.evaluate(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.evaluate(trainer, pl_module)

    @torch.no_grad()
    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, log and write the pictures."""
        callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        stop = next((one for one in callbacks if isinstance(one, GracefulStop)), GracefulStop(()))
        if stop.stopped:
            return
        module: Any = pl_module
        images_seen: int = module.images_seen
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        training = module.training
        module.eval()
        weights = "raw" if self.ema is None else f"ema-{self.ema:g}"
        with nullcontext() if self.ema is None else _ema(trainer).use(self.ema, pl_module):
            denoiser = module.whole()
            with beating() as heartbeat:
                share = Share(trainer.global_rank, trainer.world_size, heartbeat, lambda: stop.number)
                try:
                    share.check()
                    found = self.evaluator(denoiser, data, share, weights)
                    share.meet()
                except Interrupted as interrupted:
                    stop.stop(trainer, interrupted.number)
                    found = None
        module.train(training)
        if found is None:
            return
        self.latest, self.evaluated_at = found.metrics, images_seen
        for logger in trainer.loggers:
            logger.log_metrics({"images_seen": images_seen, **found.metrics}, step=trainer.global_step)
        if trainer.is_global_zero:
            for picture in found.pictures:
                picture.write(self.folder, images_seen)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint.setdefault("evaluated_at", {})[self._key(trainer)] = self.evaluated_at

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.evaluated_at = checkpoint.get("evaluated_at", {}).get(self._key(trainer))

    def _key(self, trainer: Trainer) -> str:
        """Which evaluation of a run it is."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        alike = [one for one in callbacks if isinstance(one, Periodic) and type(one.evaluator) is type(self.evaluator)]
        return f"{type(self.evaluator).__name__} {alike.index(self)}"

    @property
    def state_key(self) -> str:
        return f"{type(self).__name__}[{type(self.evaluator).__name__}]"


def _ema(trainer: Trainer) -> EMA:
    found: Sequence[EMA] = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
    if not found:
        raise UserError(
            "an evaluation asks for averaged weights, but there is no EMA; add callbacks.ema or set ema=null"
        )
    return found[0]
