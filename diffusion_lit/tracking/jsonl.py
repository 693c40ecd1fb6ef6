"""The logger that is always on: metrics.jsonl in the run folder is the truth, every other view is made from it."""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import lines
from diffusion_lit.tracking.run_logger import RunLogger

__all__ = ["JsonlLogger"]


class JsonlLogger(RunLogger):
    """Write every call of `log_metrics` as one line of `folder`/metrics.jsonl, on rank zero, flushed at once.

    Args:
        folder: the run folder.
        batch_size: global images a step; counts images where the metrics do not carry "images_seen" themselves.
    """

    def __init__(self, folder: str | Path, batch_size: int) -> None:
        super().__init__(folder)
        self.batch_size = batch_size
        self._ends_whole = False

    @property
    def path(self) -> Path:
        """Where the lines stand."""
        return self.folder / "metrics.jsonl"

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Append one line.

        Args:
            metrics: names to numbers (floats, integers or tensors of one element).
            step: optimiser steps so far; used only if `metrics` has no "images_seen".

        Raises:
            UserError: the disk is full, or neither "images_seen" nor a step is given.
        """
        seen = metrics.get("images_seen", None if step is None else step * self.batch_size)
        if seen is None:
            raise UserError(f"{sorted(metrics)}: logged without a step and without images_seen; give one of the two.")
        line = {"images_seen": seen, "time": time.time()} | {k: v for k, v in metrics.items() if k != "images_seen"}
        try:
            self._append(lines.encode(line) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.path}: could not be written ({error.strerror or error}). What stood there is whole; free some "
                f"space and go on with resume=auto."
            ) from error

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the config stands in config.yaml already."""

    @rank_zero_only
    def cut(self, images_seen: int) -> None:
        """Remove the lines past the checkpoint that training goes on from; see `lines.cut`."""
        lines.cut(self.path, images_seen)

    def _append(self, text: str) -> None:
        if not self._ends_whole:
            self.folder.mkdir(parents=True, exist_ok=True)
            lines.cut(self.path)
            self._ends_whole = True
        # Opened anew for each line: a cut replaces the file, and a kill leaves nothing in a buffer.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
