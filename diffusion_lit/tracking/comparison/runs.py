"""The runs of a comparison as they stand: being written, cut by a resume, damaged or not begun, they never raise."""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import yaml

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.lines import merged, read
from diffusion_lit.tracking.record import RunRecord

__all__ = ["Run", "aged", "find_runs", "part", "read_run", "run_names", "signature"]

T = TypeVar("T")
_MARKS = ("run.json", "metrics.jsonl")
_FILES = (
    "run.json",
    "config.yaml",
    "evaluation.yaml",
    "summary.json",
    "metrics.jsonl",
    "followed.jsonl",
    "samples",
    "restorations",
)
_PATIENCE = 300.0  # seconds without a word after which a run that is not finished is called silent


@dataclass(frozen=True)
class Run:
    """One run folder as it stood when it was read.

    Args:
        folder: where it is.
        name: the shortest end of its path that tells it from the others.
        state: "finished", "running", "resumed" (no metrics since it went on), "starting" (no metrics at all), "stopped"
            (its attempt ended before training did), "silent" (nothing was written for long), "empty" (nothing there) or
            "damaged".
        note: what is to be said of the state, in words; the damage, if there is any.
        record: run.json.
        config: config.yaml.
        summary: summary.json.
        lines: of metrics.jsonl and followed.jsonl by images seen, numbers only.
        beside: positions of the latter.
    """

    folder: Path
    name: str
    state: str
    note: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, int | float] = field(default_factory=dict)
    lines: list[dict[str, int | float]] = field(default_factory=list)
    beside: frozenset[int] = frozenset()

    @property
    def seed(self) -> Any:
        """The seed, None if it is not known."""
        return self.config.get("seed", self.record.get("seed"))

    @property
    def images_seen(self) -> int:
        """Where training stands."""
        return max((int(line["images_seen"]) for line in self.lines), default=0)

    @property
    def max_images(self) -> int | None:
        """Where training ends, if config.yaml tells."""
        told = self.config.get("max_images")
        return told if isinstance(told, int) else None

    @property
    def data(self) -> dict[str, Any]:
        """What run.json says of the data; empty if nothing."""
        return part(self.record, "data")

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The attempts, oldest first."""
        found = self.record.get("attempts")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def find_runs(words: Sequence[str | Path]) -> list[Path]:
    """Return the run folders that are meant: run folders, folders of runs at any depth, and patterns such as runs/a-*.

    A folder without any run stands for itself, since its run may be about to start; each folder comes once.

    Args:
        words: in the order in which the runs shall be shown.

    Raises:
        UserError: nothing is given, or a folder does not exist.
    """
    if not words:
        raise UserError("compare: no run is given; name run folders, or folders of runs, such as runs/a runs/b.")
    found: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        matches = [path] if path.is_dir() else [Path(p) for p in sorted(glob(str(word))) if Path(p).is_dir()]
        if not matches:
            raise UserError(
                f"{word}: there is no such folder. Give run folders, or folders of runs, such as runs/demo."
            )
        for match in matches:
            for folder in _inside(match) or [match]:
                found.setdefault(folder.resolve(), folder)
    return list(found.values())


def run_names(folders: Sequence[str | Path]) -> list[str]:
    """Return the shortest ends of the folders' paths that tell them apart."""
    paths = [Path(folder).resolve() for folder in folders]
    for depth in range(1, max((len(path.parts) for path in paths), default=1) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names if paths else []


def signature(folder: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes whenever a file of the run does: times of change and sizes."""
    found = []
    for name in _FILES:
        try:
            there = (folder / name).stat()
            found.append((there.st_mtime_ns, there.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def read_run(folder: Path, name: str, now: float | None = None) -> Run:
    """Read a run folder; whatever is wrong with it is told by `state` and `note`.

    Args:
        folder: the run folder.
        name: what it is called.
        now: unix seconds, for the age of what was written last.
    """
    source, damage = RunRecord(folder), []

    def safely(get: Callable[[], T], otherwise: T) -> T:
        try:
            value = get()
            if type(value) is not type(otherwise):
                raise ValueError(f"holds {type(value).__name__}, not {type(otherwise).__name__}")
            return value
        except (UserError, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
            damage.append(" ".join(str(error).split()))
            return otherwise

    if not source.exists and not (folder / "metrics.jsonl").exists():
        return Run(folder, name, "empty", "nothing was written here yet")
    record = safely(lambda: source.run, {})
    config = safely(lambda: _plain(source.config), {})
    measured = folder / "evaluation.yaml"  # what `evaluate` was told beside config.yaml
    if measured.exists():
        config |= {"evaluation": safely(lambda: _plain(yaml.safe_load(measured.read_text(encoding="utf-8"))), {})}
    summary = safely(lambda: source.summary, {})
    trained, followed = safely(lambda: read(folder / "metrics.jsonl"), []), safely(source.read_followed, [])
    lines, beside = merged([_numbers(line) for line in trained], [_numbers(line) for line in followed])
    if not damage and not config:
        damage.append("config.yaml is missing, so what was run is not known")
    state = "damaged" if damage else "running"
    run = Run(folder, name, state, "; ".join(damage), record, config, _numbers(summary), lines, beside)
    return aged(run, time.time() if now is None else now)


def aged(run: Run, now: float) -> Run:
    """Return the run with the state that it has at `now` (unix seconds) if its files have not changed since."""
    if run.state in ("damaged", "empty"):
        return run
    state, note = _state(run, now)
    return replace(run, state=state, note=note)


def _state(run: Run, now: float) -> tuple[str, str]:
    if run.record.get("finished"):
        return "finished", str(run.record["finished"])[:16].replace("T", " ")
    trained = [line for i, line in enumerate(run.lines) if i not in run.beside]
    times = [float(line["time"]) for line in trained if math.isfinite(line.get("time", math.nan))]
    started = _seconds(run.attempts[-1].get("started")) if run.attempts else None
    last: float = max(times + ([] if started is None else [started]), default=now)
    gaps = sorted(b - a for a, b in pairwise(times))
    patience = max(_PATIENCE, 3 * gaps[len(gaps) * 9 // 10] if gaps else 0.0)
    ended = run.attempts[-1].get("ended") if run.attempts else None
    if ended:
        return "stopped", f"attempt {len(run.attempts)} ended: {ended}"
    if now - last > patience:
        return "silent", f"not finished; nothing was written for {_ago(now - last)}"
    if not trained:
        return "starting", "no metrics yet"
    start = run.attempts[-1].get("from_images_seen") if run.attempts else None
    if len(run.attempts) > 1 and isinstance(start, int) and run.images_seen <= start:
        return "resumed", f"attempt {len(run.attempts)} goes on from {start:,} images"
    return "running", f"last line {_ago(now - last)} ago"


def _inside(folder: Path) -> list[Path]:
    """Run folders at or under `folder`; what is inside a run is not searched."""
    found = []
    for path, folders, files in os.walk(folder, followlinks=True):
        if any(mark in files for mark in _MARKS):
            found.append(Path(path))
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


def _numbers(line: dict[str, Any]) -> dict[str, int | float]:
    return {k: v for k, v in line.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _plain(config: Any) -> Any:
    """As JSON would keep it: dates and the like as text."""
    return json.loads(json.dumps(config, default=str))


def part(mapping: Any, *keys: str) -> dict[str, Any]:
    """Return the mapping that stands under the keys; empty if there is none."""
    for key in keys:
        mapping = mapping.get(key) if isinstance(mapping, dict) else None
    return mapping if isinstance(mapping, dict) else {}


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{math.floor(seconds / size)} {unit}"
    return f"{max(0, math.floor(seconds))} s"
