"""An experiment: a folder whose experiment.yaml declares a base, axes and seeds, and so its entries.

    title: what the tables show
    source: the paper and its table
    train: [overrides of `diffusion-lit train`]        where neither this nor a label gives any, nothing is trained
    measure: {settings of `measure` in measure.py}
    axes: {axis: {label: [train overrides] | {settings of measure} | {train: [...], measure: {...}}}}
    seeds: [0, 1, 2]
    tables: [{title, rows: axis, columns: axis, value: metric, format: .2f, best: min, published: {row: {column: 1}}}]
    tiny: {train, measure, seeds, axes: {axis: [labels that are kept]}}      the same in seconds, for tests

An entry is one label of each axis and one seed.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from diffusion_lit.configuration import run_config
from diffusion_lit.errors import UserError

__all__ = ["Entry", "Experiment"]

_KEYS = {"title", "source", "train", "measure", "axes", "seeds", "tables", "tiny"}
_TABLE_KEYS = {"title", "rows", "columns", "value", "format", "best", "published"}


@dataclass(frozen=True)
class Entry:
    """One choice of labels and a seed.

    Attributes:
        labels: axis -> label.
        seed: of the training and of the measuring.
        train: overrides of `diffusion-lit train`; None if nothing is trained.
        measure: settings of the measuring function.
    """

    labels: dict[str, str]
    seed: int
    train: tuple[str, ...] | None
    measure: dict[str, Any]

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides with the seed: entries that share them share one training run."""
        return (*(self.train or ()), f"seed={self.seed}")

    @property
    def run_identity(self) -> str | None:
        """The identity of the training run, if there is one."""
        return None if self.train is None else _identity(self.overrides)

    @property
    def identity(self) -> str:
        """10 hexadecimal digits of all that can change the numbers: the training's configuration, settings and seed."""
        text = json.dumps([self.run_identity, self.measure, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def __str__(self) -> str:
        return ", ".join([*(f"{axis} {label}" for axis, label in self.labels.items()), f"seed {self.seed}"])


@cache
def _identity(overrides: tuple[str, ...]) -> str:
    return str(run_config(overrides).run_identity)


@dataclass(frozen=True)
class Experiment:
    """What experiment.yaml declares; see the module.

    Attributes:
        folder: of the experiment; its name is the experiment's.
        overriding: {train, measure} that come after those of the labels: the tiny twin's.
    """

    folder: Path
    title: str
    source: str
    axes: dict[str, dict[str, Any]]
    seeds: list[int]
    tables: list[dict[str, Any]]
    train: list[str] = field(default_factory=list)
    measure: dict[str, Any] = field(default_factory=dict)
    tiny: dict[str, Any] = field(default_factory=dict)
    overriding: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Experiment":
        """Read and check experiments/NAME/experiment.yaml.

        Raises:
            UserError: no such experiment, or a mistake in its declaration.
        """
        path = folder / "experiment.yaml"
        if not path.exists():
            there = sorted(found.parent.name for found in folder.parent.glob("*/experiment.yaml"))
            raise UserError(f"{folder.name}: no {path}; experiments here are {', '.join(there) or 'none'}")
        try:
            declared = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise UserError(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(declared, Mapping):
            raise UserError(f"{path}: declares nothing; it needs {', '.join(sorted(_KEYS - {'train', 'tiny'}))}")
        _known(path, "key", declared, _KEYS)
        if missing := {"title", "source", "axes", "tables"} - set(declared):
            raise UserError(f"{path}: has no {', '.join(sorted(missing))}")
        axes = {
            str(axis): {str(label): value for label, value in labels.items()}
            for axis, labels in declared["axes"].items()
        }
        for table in declared["tables"]:
            _known(path, "key of a table", table, _TABLE_KEYS)
            for place in ("rows", "columns"):
                _known(path, f"axis ({place} of a table)", [table[place]], {*axes, "metrics"})
        for axis, labels in declared.get("tiny", {}).get("axes", {}).items():
            _known(path, "axis of tiny", [axis], axes)
            _known(path, f"label of {axis} in tiny", map(str, labels), axes[axis])
        return cls(**{**declared, "folder": folder, "axes": axes, "seeds": declared.get("seeds", [0])})

    def twin(self) -> "Experiment":
        """The tiny twin: fewer labels and seeds, smaller settings."""
        kept = {axis: [str(label) for label in labels] for axis, labels in self.tiny.get("axes", {}).items()}
        return replace(
            self,
            axes={a: {k: v for k, v in values.items() if k in kept.get(a, values)} for a, values in self.axes.items()},
            seeds=self.tiny.get("seeds", self.seeds[:1]),
            overriding=self.tiny,
        )

    def entries(self) -> list[Entry]:
        """All entries: labels in the order of the axes, then seeds."""
        return [
            self._entry(dict(zip(self.axes, labels)), seed)
            for labels in product(*self.axes.values())
            for seed in self.seeds
        ]

    def _entry(self, labels: dict[str, str], seed: int) -> Entry:
        train, measure = list(self.train), dict(self.measure)
        for axis, label in labels.items():
            value = self.axes[axis][label] or {}
            if isinstance(value, list):
                value = {"train": value}
            elif not set(value) & {"train", "measure"}:
                value = {"measure": value}
            train += value.get("train", [])
            measure |= value.get("measure", {})
        measure |= self.overriding.get("measure", {})
        if not train:
            return Entry(labels, seed, None, measure)
        train += self.overriding.get("train", [])
        return Entry(labels, seed, (f"task_name={self.folder.name}", *train), measure)

    def script(self, name: str) -> ModuleType:
        """Import measure.py or claims.py of the folder; raises UserError if it is not there."""
        path = self.folder / f"{name}.py"
        if not path.exists():
            raise UserError(f"{path}: is missing; an experiment needs it (see CONTRIBUTING.md)")
        spec = importlib.util.spec_from_file_location(f"experiments.{self.folder.name}.{name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def _known(path: Path, what: str, given: Any, known: Any) -> None:
    if unknown := [str(name) for name in given if name not in known]:
        raise UserError(f"{path}: unknown {what} {', '.join(unknown)}; known are {', '.join(sorted(known))}")
