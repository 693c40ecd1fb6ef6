"""Runs side by side: their numbers, the best of each, and the config keys in which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.identity import canonical
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.table import Table
from diffusion_lit.tracking.words import Number, best, quantity, show

__all__ = ["Comparison", "compare", "run_names"]

_LEFT_OUT = ("loss_by_noise/", "train/")
_NO_RESULTS = ("time", "epoch")


@dataclass(frozen=True)
class Comparison:
    """Numbers of several runs.

    Args:
        names: of the runs.
        numbers: metric name to one value a run (None where a run does not have it).
        config: dotted config key to one JSON text a run, only where they differ.
    """

    names: list[str]
    numbers: dict[str, list[Number | None]]
    config: dict[str, list[str | None]]

    def best(self, metric: str) -> set[int]:
        """Return the positions of the runs that are best in `metric`."""
        return best(self.numbers[metric], quantity(metric).goal)

    def metrics_table(self) -> Table:
        """Return rows of runs and columns of metrics, the best value of each column marked."""
        metrics = list(self.numbers)
        rows = [
            [name, *(_shown(metric, self.numbers[metric][i]) for metric in metrics)]
            for i, name in enumerate(self.names)
        ]
        marked = {(i, j) for j, metric in enumerate(metrics, start=1) for i in self.best(metric)}
        return Table(["run", *metrics], rows, marked)

    def config_table(self) -> Table:
        """Return rows of differing config keys and columns of runs."""
        return Table(["config key", *self.names], [[key, *(v or "-" for v in vs)] for key, vs in self.config.items()])

    def text(self, width: int | None = None) -> str:
        """Return both tables for a terminal of `width` characters."""
        same = "The configs do not differ in anything that changes the result."
        config = self.config_table().text() if self.config else same
        return f"{self.metrics_table().text(width)}\n\n{config}\n\n* best value of its metric"

    def markdown(self) -> str:
        """Return both tables in Markdown."""
        tables = [self.metrics_table().turned().markdown()] + ([self.config_table().markdown()] if self.config else [])
        return "\n\n".join(tables)


def compare(folders: Sequence[str | Path]) -> Comparison:
    """Gather the summaries, the last value of every metric and the differing config keys of some runs.

    Args:
        folders: run folders.

    Raises:
        UserError: no folder is given, or one of them holds no run.
    """
    if not folders:
        raise UserError("compare: no run is given; name one or more run folders, such as runs/demo runs/other.")
    records = [RunRecord(folder) for folder in folders]
    for record in records:
        _ = record.run
    numbers = [_numbers(record) for record in records]
    metrics = list(dict.fromkeys(metric for of_run in numbers for metric in of_run))
    configs = [canonical(record.config) for record in records]
    keys = sorted(set().union(*configs))
    return Comparison(
        names=run_names(folders),
        numbers={metric: [of_run.get(metric) for of_run in numbers] for metric in metrics},
        config={k: [c.get(k) for c in configs] for k in keys if len({c.get(k) for c in configs}) > 1},
    )


def run_names(folders: Sequence[str | Path]) -> list[str]:
    """Return the shortest ends of the folders' paths that tell them apart."""
    paths = [Path(folder).resolve() for folder in folders]
    for depth in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names if paths else []


def _numbers(record: RunRecord) -> dict[str, Number]:
    summary = record.summary
    numbers = dict(summary)
    for line in record.read_metrics():
        numbers |= {
            key: float(value)
            for key, value in line.items()
            if key not in summary and key not in _NO_RESULTS and not key.startswith(_LEFT_OUT)
        }
    return numbers


def _shown(metric: str, value: Number | None) -> str:
    return "-" if value is None else show(value, quantity(metric).unit)
