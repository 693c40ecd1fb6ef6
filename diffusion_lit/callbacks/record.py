"""Keep run.json: who runs, on what, since when, from which image on, for how long, and how it ended."""

import time
from collections.abc import Mapping
from typing import IO, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from diffusion_lit.callbacks.stop import GracefulStop
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.networks.summary import summarize
from diffusion_lit.tracking.record import RunRecord

__all__ = ["Record"]


class Record(Callback):
    """Hold the run folder; start, time and finish the run's record; print the network's size at the start.

    Args:
        folder: the run folder.
        config: the resolved configuration as plain containers.
        max_images: where the run is finished.
    """

    def __init__(self, folder: str, config: Mapping[str, Any], max_images: int):
        self.record, self.config, self.max_images = RunRecord(folder), config, max_images
        self._began = time.perf_counter()
        self._lock: IO[str] | None = None
        self._started = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero:
            self._lock = self.record.hold()
            # before the network may be shared out, when each call of it would be one of all processes
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            self._summary = summarize(pl_module.denoiser.network, data.shape)  # type: ignore[union-attr]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()
        if not trainer.is_global_zero:
            self._started = self.record.exists
            return
        for logger in trainer.loggers:  # W&B shows and compares runs by their configuration
            logger.log_hyperparams(dict(self.config))
        module: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        summary = self._summary
        print(summary)
        self.record.start(
            self.config,
            from_images_seen=module.images_seen,
            network={
                "parameters": summary.parameters,
                "flops": summary.flops,
                "memory_bytes": summary.training_bytes(module.batch_size // trainer.world_size),
                "text": str(summary),
            },
            data=data.description,
            manifest=data.manifest.content if isinstance(data, ShardsDataModule) else None,
        )
        self._started = True
        number = len(self.record.run["attempts"])
        for logger in trainer.loggers:
            logger.log_metrics({"images_seen": module.images_seen, "attempt": number}, step=trainer.global_step)

    def saved(self, images_seen: int) -> None:
        """Note a checkpoint that was written."""
        self.record.progress(time.perf_counter() - self._began, images_seen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if not trainer.is_global_zero:
            return
        stop = next((c for c in trainer.callbacks if isinstance(c, GracefulStop)), None)  # type: ignore[attr-defined]
        if module.images_seen >= self.max_images:
            self.record.finish(time.perf_counter() - self._began, module.images_seen)
        elif stop is not None and stop.stopped:
            self.record.end(stop.stopped)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()
        if not self._started:
            return  # the folder may be another run's, and the terminal says why
        self.record.crashed(trainer.global_rank, exception)
        if trainer.is_global_zero:
            self.record.end(f"{type(exception).__name__}: {exception}")
