"""The disk that a run takes: checkpoints, snapshots, and the cache of its shards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_lit.cluster.memory import kept_checkpoints

__all__ = ["Disk", "existing"]


@dataclass(frozen=True)
class Disk:
    """What lies in a run folder at a time, at most.

    Args:
        files: checkpoints.
        checkpoint: bytes of each.
        snapshots: of the averages.
        snapshot: bytes of each.
    """

    files: int
    checkpoint: int
    snapshots: int
    snapshot: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], checkpoint: int, averages: int) -> "Disk":
        """Count what a configuration keeps.

        Args:
            settings: the plain configuration.
            checkpoint: bytes of a checkpoint.
            averages: bytes of all averages of the weights.
        """
        callbacks, images = settings["callbacks"], settings["max_images"]
        saving = callbacks.get("checkpoint", {})
        files = kept_checkpoints(images, saving.get("keep_every"), saving.get("keep"), bool(saving.get("best")))
        snapshots = images // callbacks["snapshots"]["every"] + 1 if "snapshots" in callbacks else 0
        return cls(files, checkpoint, snapshots, averages)

    @property
    def needed(self) -> int:
        """Bytes of all."""
        return self.files * self.checkpoint + self.snapshots * self.snapshot


def existing(folder: str | Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    path = Path(folder).absolute()
    return next(parent for parent in (path, *path.parents) if parent.is_dir())
