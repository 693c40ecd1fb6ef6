"""What the loggers of a run folder share: where Lightning finds the run's checkpoints."""

from pathlib import Path

from lightning.pytorch.loggers.logger import Logger

__all__ = ["RunLogger"]


class RunLogger(Logger):
    """A logger of one run folder. Lightning looks for checkpoints in save_dir/name/version/checkpoints: this is its.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)
