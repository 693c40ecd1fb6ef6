"""What came out: one line an entry in results.jsonl, and how to ask for the numbers of some entries."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text
from diffusion_lit.reproduction.experiment import Entry

__all__ = ["Result", "Results"]


@dataclass(frozen=True)
class Result:
    """The numbers of one entry, and where they are from."""

    labels: dict[str, str]
    seed: int
    identity: str
    metrics: dict[str, float]
    minutes: float
    hardware: str
    date: str
    command: str


class Results:
    """The results of an experiment's entries: fresh, stale (of another configuration) or missing.

    Args:
        entries: of the experiment, in order.
        found: results; of two of one identity the later counts.
        axes: axis -> labels that may be asked for.
    """

    def __init__(self, entries: list[Entry], found: Iterable[Result], axes: Mapping[str, Iterable[str]]):
        self.entries = entries
        self.axes = {axis: list(labels) for axis, labels in axes.items()}
        found = list(found)
        by_identity = {result.identity: result for result in found}
        by_place = {_place(result): result for result in found}
        # the entry's labels: an axis may have been named or added since
        self.fresh = {
            e.identity: replace(by_identity[e.identity], labels=e.labels) for e in entries if e.identity in by_identity
        }
        left = [entry for entry in entries if entry.identity not in self.fresh]
        self.stale = {entry.identity: by_place[_place(entry)] for entry in left if _place(entry) in by_place}
        self.missing = [entry for entry in left if entry.identity not in self.stale]

    @staticmethod
    def read(path: Path) -> list[Result]:
        """The results in a file; none if there is no such file. A torn last line is left out."""
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [Result(**json.loads(line)) for line in lines if line.endswith("}")]

    @classmethod
    def gather(cls, entries: list[Entry], axes: Mapping[str, Iterable[str]], *folders: Path) -> "Results":
        """The results in the results*.jsonl of folders: elements of a job array write files of their own."""
        paths = [path for folder in folders for path in sorted(folder.glob("results*.jsonl"))]
        return cls(entries, [result for path in paths for result in cls.read(path)], axes)

    def write(self, path: Path) -> None:
        """Write the fresh results, in the order of the entries."""
        rows = [json.dumps(asdict(self.fresh[e.identity])) for e in self.entries if e.identity in self.fresh]
        write_text(path, "".join(f"{row}\n" for row in rows))

    def at(self, **labels: str) -> list[Result]:
        """Fresh or stale results whose labels are these."""
        here = [self.fresh.get(e.identity) or self.stale.get(e.identity) for e in self.entries if _fits(e, labels)]
        return [result for result in here if result is not None]

    def __call__(self, metric: str, **labels: str) -> Float64[np.ndarray, " entries"]:
        """The values of a metric in all entries with these labels, such as results("fd", eta="0") for all seeds.

        Raises:
            UserError: the axes have no such labels.
            LookupError: its entries have not been measured.
        """
        if any(label not in self.axes.get(axis, ()) for axis, label in labels.items()):
            raise UserError(f"{metric} at {labels}: no entry has these labels; there are {self.axes}")
        values = [result.metrics[metric] for result in self.at(**labels) if metric in result.metrics]
        if not values:
            raise LookupError(f"{metric} at {labels} was not measured")
        return np.array(values, dtype=np.float64)

    def mean(self, metric: str, **labels: str) -> float:
        """The mean of `results(metric, **labels)`."""
        return float(self(metric, **labels).mean())


def _fits(entry: Entry, labels: dict[str, str]) -> bool:
    return all(entry.labels.get(axis) == label for axis, label in labels.items())


def _place(one: Entry | Result) -> tuple[tuple[tuple[str, str], ...], int]:
    return tuple(sorted(one.labels.items())), one.seed
