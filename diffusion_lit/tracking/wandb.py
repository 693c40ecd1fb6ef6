"""Weights & Biases through Lightning's logger: one W&B run a run identity, counted in images, offline unless asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.wandb import WandbLogger

from diffusion_lit.tracking.record import RunRecord

__all__ = ["ImagesWandbLogger", "upload"]


class ImagesWandbLogger(WandbLogger):
    """Lightning's W&B logger with the run identity as its id and images seen as its step.

    Because W&B's own step is `images_seen`, a requeued job goes on in the same W&B run, and points that it logs
    a second time are dropped there instead of doubled.

    Args:
        folder: the run folder; W&B's files go to its wandb/.
        identity: the run identity.
        task_name: the experiment; seeds and variants of it share this group.
        batch_size: global images a step; counts images where the metrics do not carry "images_seen" themselves.
        project: the W&B project.
        job_type: train, evaluate ...
        tags: free words to find the run by.
        config: the resolved config.
        offline: write files only; `wandb sync` or `upload` sends them later. Nothing touches the network.
    """

    def __init__(
        self,
        folder: str | Path,
        identity: str,
        task_name: str,
        batch_size: int,
        project: str = "diffusion_lit",
        job_type: str = "train",
        tags: Sequence[str] = (),
        config: dict[str, Any] | None = None,
        offline: bool = True,
    ) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        super().__init__(
            name=Path(folder).name,
            save_dir=str(folder),
            id=identity,
            project=project,
            group=task_name,
            job_type=job_type,
            tags=list(tags),
            config=config,
            resume="allow",
            offline=offline,
            settings=wandb.Settings(console="off", silent=offline),
        )
        self.batch_size = batch_size
        self._counts_images = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, whose metrics are drawn over images seen."""
        run = super().experiment
        if not self._counts_images and getattr(run, "define_metric", None):
            _count_images(run)
            self._counts_images = True
        return run

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log one line at its images seen (in `metrics`, else step * batch_size)."""
        seen = round(float(metrics.get("images_seen", (step or 0) * self.batch_size)))
        self.experiment.log({**metrics, "images_seen": seen}, step=seen)


def upload(folder: str | Path, *, project: str = "diffusion_lit", offline: bool = False) -> int:
    """Send a run's metrics.jsonl and summary.json to W&B in one go, under its identity; return the number of lines.

    Args:
        folder: the run folder.
        project: the W&B project.
        offline: write W&B's files into the folder instead of sending them.

    Raises:
        UserError: there is no run in `folder`.
    """
    record = RunRecord(folder)
    run, lines = record.run, record.read_metrics()
    with wandb.init(
        id=run["identity"],
        name=Path(folder).name,
        project=project,
        group=run["task_name"],
        job_type="train",
        tags=run["tags"],
        config=record.config,
        resume="allow",
        dir=str(folder),
        mode="offline" if offline else "online",
        settings=wandb.Settings(console="off", silent=offline),
    ) as target:
        _count_images(target)
        for line in lines:
            target.log(line, step=line["images_seen"])
        target.summary.update(record.summary)
    return len(lines)


def _count_images(run: Any) -> None:
    run.define_metric("images_seen")
    run.define_metric("*", step_metric="images_seen")
