"""Keep run.json: who runs, on what, since when, from which image on, for how long."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from diffusion_lit.networks.summary import summarize
from diffusion_lit.tracking.record import RunRecord

__all__ = ["Record"]


class Record(Callback):
    """Start, time and finish a run's record; print the network's size at the start.

    Args:
        folder: the run folder.
        config: the resolved configuration as plain containers.
        max_images: where the run is finished.
    """

    def __init__(self, folder: str, config: Mapping[str, Any], max_images: int):
        self.record, self.config, self.max_images = RunRecord(folder), config, max_images
        self._began = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:  # W&B shows and compares runs by their configuration
            logger.log_hyperparams(dict(self.config))
        module: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        summary = summarize(module.denoiser.network, data.shape)
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
        )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.is_global_zero and trainer.training:
            self.record.progress(time.perf_counter() - self._began)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        if trainer.is_global_zero and module.images_seen >= self.max_images:
            self.record.finish(time.perf_counter() - self._began)
