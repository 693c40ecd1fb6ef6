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
from diffusion_lit.callbacks.heartbeat import beating
from diffusion_lit.callbacks.pictures import Picture
from diffusion_lit.callbacks.share import Share
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

    Args:
        evaluator: what is run; all processes take part.
        folder: the run folder.
        every: images between two evaluations; None evaluates in `trainer.test` only.
        ema: width of the averaged weights to evaluate; None takes the weights of the last step.
    """

    def __init__(self, evaluator: Evaluator, folder: str, every: int | None = None, ema: float | None = None):
        self.evaluator, self.folder, self.every, self.ema = evaluator, Path(folder), every, ema
        self.latest: dict[str, float] = {}
        self.evaluated_at = -1  # images seen

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: Any = pl_module
        if whole_step(trainer, batch_idx) and passed(self.every, module.images_seen, module.images_per_step):
            self.evaluate(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.evaluate(trainer, pl_module)

    @torch.no_grad()
    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, log and write the pictures."""
        module: Any = pl_module
        images_seen: int = module.images_seen
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        training = module.training
        module.eval()
        weights = "raw" if self.ema is None else f"ema-{self.ema:g}"
        with nullcontext() if self.ema is None else _ema(trainer).use(self.ema, pl_module):
            denoiser = module.whole()
            with beating() as heartbeat:
                share = Share(trainer.global_rank, trainer.world_size, heartbeat)
                found = self.evaluator(denoiser, data, share, weights)
                share.meet()
        module.train(training)
        self.latest, self.evaluated_at = found.metrics, images_seen
        for logger in trainer.loggers:
            logger.log_metrics({"images_seen": images_seen, **found.metrics}, step=trainer.global_step)
        if trainer.is_global_zero:
            for picture in found.pictures:
                picture.write(self.folder, images_seen)

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
