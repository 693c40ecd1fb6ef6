"""The table of groups and metrics: the mean over seeds, its interval, and what was left out of it and why."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diffusion_lit.tracking.comparison.groups import Group
from diffusion_lit.tracking.comparison.numbers import NO_METRICS, Value, summarised, unlike, values
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.statistics import half_width
from diffusion_lit.tracking.words import Number, Quantity, is_baseline, quantity, show

__all__ = ["Cell", "Column", "Scores", "common_images", "score"]

_LEFT_OUT = ("loss_by_noise/", "train/learning_rate")
_NORMAL = 1.96  # a standard error's 95 % interval
_MAIN = 6  # columns shown at first


@dataclass(frozen=True)
class Cell:
    """What a group has of a metric.

    Args:
        mean: over the seeds that count; NaN if one of them is not finite.
        half: half the 95 % interval, None if there is none.
        seeds: seed -> number, those that count.
        kind: place of what the numbers depend on, in the column's `kinds`.
        images_seen: when they were measured; the last of them.
        notes: what a reader must know, such as a seed that was left out.
        by_error: whether `half` is from the metric's own standard error, with one seed.
    """

    mean: Number
    half: Number | None
    seeds: dict[str, Number]
    kind: int
    images_seen: int
    notes: list[str] = field(default_factory=list)
    by_error: bool = False

    def text(self, unit: str) -> str:
        """Return the mean and half its interval with as many digits as the interval allows."""
        if self.half is None or not math.isfinite(self.half):
            return show(self.mean, unit)
        digits = min(8, max(0, 1 - math.floor(math.log10(self.half))))
        if abs(self.mean) >= 1e5 or self.half < 1e-6:
            return f"{show(self.mean, unit)} ± {self.half:.2g}"
        return f"{self.mean:,.{digits}f} ± {self.half:,.{digits}f}" + (f" {unit}" if unit in ("dB", "s") else "")


@dataclass(frozen=True)
class Column:
    """One metric of all groups.

    Args:
        key: its name, short if summary.json has one.
        what: its quantity.
        names: full names, where `key` is short.
        main: whether it is shown at first.
        kinds: the different sets of things that its numbers depend on.
        cells: one a group, None where a group has no number.
        runs: the number of each run, for rows of single runs; None where it has none.
    """

    key: str
    what: Quantity
    names: list[str]
    main: bool
    kinds: list[dict[str, str]]
    cells: list[Cell | None]
    runs: list[Number | None]

    def why(self, kind: int, other: int) -> str:
        """Return in what two kinds differ, in words."""
        return unlike(self.kinds[kind], self.kinds[other])


@dataclass(frozen=True)
class Scores:
    """All columns; `equal` if every metric is taken at the same images seen in all runs."""

    columns: list[Column]
    equal: bool


def score(runs: Sequence[Run], groups: Sequence[Group], equal: bool = False) -> Scores:
    """Gather the last numbers of all runs, or those at equal images seen.

    Args:
        runs: all runs.
        groups: of them.
        equal: take each metric at the largest images seen that all runs with this metric have logged.
    """
    at = common_images(runs) if equal else None
    logged = [values(run, at) for run in runs]
    short = [{} if equal else summarised(run, found) for run, found in zip(runs, logged)]
    claimed = [{name for name, _ in found.values()} for found in short]
    names = dict.fromkeys(key for found in short for key in found)
    for name in dict.fromkeys(name for found in logged for name in found):
        there = [name in aliases for found, aliases in zip(logged, claimed) if name in found]
        if not all(there) and not name.startswith(_LEFT_OUT):
            names.setdefault(name)
    columns = []
    for key in names:
        own = [found[key][1] if key in found else more.get(key) for found, more in zip(short, logged)]
        full = list(dict.fromkeys(found[key][0] for found in short if key in found and found[key][0]))
        columns.append(_column(key, [str(name) for name in full], own, runs, groups))
    columns = [column for column in columns if any(cell is not None for cell in column.cells)]
    order = sorted(columns, key=lambda column: _rank(column.key))
    main = [column.key for column in order if _rank(column.key)[0] < 9 and not _is_landmark(column.key)][:_MAIN]
    main = main or [column.key for column in order][:_MAIN]
    return Scores([replace(column, main=column.key in main) for column in order], equal)


def common_images(runs: Sequence[Run]) -> dict[str, int]:
    """Return, for each metric, the largest images seen at which all runs that ever logged it have logged it."""
    common: dict[str, set[int]] = {}
    for run in runs:
        here: dict[str, set[int]] = {}
        for line in run.lines:
            for name in line.keys() - set(NO_METRICS):
                here.setdefault(name, set()).add(int(line["images_seen"]))
        for name, seen in here.items():
            common[name] = common[name] & seen if name in common else seen
    return {name: max(seen) for name, seen in common.items() if seen}


def _column(
    key: str, names: list[str], own: Sequence[Value | None], runs: Sequence[Run], groups: Sequence[Group]
) -> Column:
    kinds: list[dict[str, str]] = []
    for value in own:
        if value is not None and value.depends not in kinds:
            kinds.append(value.depends)
    cells = [_cell([(str(runs[i].seed), own[i]) for i in group.runs], kinds) for group in groups]
    numbers = [None if value is None else value.value for value in own]
    return Column(key, quantity(key), names, False, kinds, cells, numbers)


def _cell(entries: Sequence[tuple[str, Value | None]], kinds: list[dict[str, str]]) -> Cell | None:
    there = [(seed, value, kinds.index(value.depends)) for seed, value in entries if value is not None]
    if not there:
        return None
    # numbers of different kinds have no common mean: the most seeds count, of equally many the furthest
    counts = Counter(kind for _, _, kind in there)
    kind = max(counts, key=lambda k: (counts[k], max(value.images_seen for _, value, of in there if of == k)))
    used = {seed: value for seed, value, of in there if of == kind}
    notes = [f"seed {seed} left out: {unlike(kinds[of], kinds[kind])}" for seed, _, of in there if of != kind]
    missing = [seed for seed, value in entries if value is None]
    if missing:
        notes.append(f"no number of seed {', '.join(missing)}")
    numbers = {seed: value.value for seed, value in used.items()}
    broken = [seed for seed, number in numbers.items() if not math.isfinite(number)]
    if broken and len(numbers) > 1:
        notes.append(f"not finite with seed {', '.join(broken)}, so there is no mean")
    mean = float(np.mean(list(numbers.values()))) if not broken else _odd(list(numbers.values()))
    half = float(half_width(np.array(list(numbers.values()), dtype=float))) if not broken else math.nan
    error = next(iter(used.values())).error if len(used) == 1 else None
    if error is not None:
        half = _NORMAL * error
    seen = max(value.images_seen for value in used.values())
    return Cell(mean, half if math.isfinite(half) else None, numbers, kind, seen, notes, error is not None)


def _odd(numbers: Sequence[Number]) -> Number:
    return numbers[0] if len(numbers) == 1 else math.nan


def _rank(key: str) -> tuple[int, str]:
    """Where a column stands: what is said first of a run comes first, times and costs last."""
    head, last = key.partition("/")[0], key.rpartition("/")[2]
    first = ("psnr_hidden/posterior_mean", "psnr_hidden/sample", "lpips/sample", "fd_alex/model", "misfit_ratio")
    if key in first:
        return 0, str(first.index(key))
    if head in ("psnr_hidden", "psnr", "ssim", "lpips", "fd_alex", "kd_alex"):
        return 3, key
    if head in ("fd", "kd", "validation", "test", "nll", "bits"):
        return 1, key
    if head == "restoration":
        return (2, key) if last in ("psnr_hidden", "lpips") else (4, key)
    if head == "train":
        return 9 if last != "loss" else 8, key
    return (5, key) if quantity(key).goal else (9, key)


def _is_landmark(key: str) -> bool:
    """Whether a number is of something that the model is compared with, which no run changes."""
    head, last = key.partition("/")[0], key.rpartition("/")[2]
    short = head in ("psnr", "psnr_hidden", "ssim", "lpips", "fd_alex", "kd_alex")
    return last in ("gaussian", "floor") or (short and is_baseline(key))
