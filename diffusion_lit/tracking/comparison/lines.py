"""Curves of groups and of their runs, as numbers that a page draws: every metric by images seen and by seconds."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from diffusion_lit.tracking.comparison.groups import Group
from diffusion_lit.tracking.comparison.numbers import NO_METRICS, evaluations
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.pictures import spread
from diffusion_lit.tracking.statistics import band
from diffusion_lit.tracking.words import Number, quantity

__all__ = ["curves", "training_seconds"]

_POINTS = 4_000  # of one metric over all runs; at least 60 a run are kept, at most 200


def curves(runs: Sequence[Run], groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return one entry a metric, for the script of the page.

    Each has its name and title and, for each group that has it: "g" its position; "x" images seen and "t" mean training
    seconds; "n" its seeds; "lines" one array of values a run; for several seeds "mean", "low", "high", "count" (left
    out if all seeds are there everywhere) and whether the band is an interval. What is not finite is null.
    """
    series = [_series(run) for run in runs]
    clocks = [training_seconds(run) for run in runs]
    names = dict.fromkeys(name for of_run in series for name in of_run)
    at_most = max(60, min(200, _POINTS // max(1, len(runs))))
    found = []
    for name in names:
        drawn = [_group(name, g, group, series, clocks, at_most) for g, group in enumerate(groups)]
        drawn = [of_group for of_group in drawn if of_group is not None]
        what = quantity(name)
        numbers = [v for d in drawn for line in d["lines"] for v in line if v is not None]
        found.append(
            {
                "name": name,
                "title": what.title,
                "unit": what.unit,
                "log": _spans_decades(name, numbers),
                "groups": drawn,
            }
        )
    return sorted(found, key=lambda curve: _rank(curve["name"]))


def training_seconds(run: Run) -> Mapping[int, float]:
    """Return how long training took up to each image count of the run's lines.

    Waits between attempts do not count, nor does work that was lost with the process: an attempt goes on with the clock
    of the checkpoint that it started from.
    """
    starts = []
    for attempt in run.attempts:
        try:
            starts.append(
                (datetime.fromisoformat(str(attempt["started"])).timestamp(), int(attempt["from_images_seen"]))
            )
        except (KeyError, TypeError, ValueError):
            continue
    starts.sort()
    evaluated = evaluations(run)
    lines = [line for i, line in enumerate(run.lines) if "time" in line and i not in evaluated]
    begin = starts[0][0] if starts else (float(lines[0]["time"]) if lines else 0.0)
    clock: dict[int, float] = {}
    base, since, attempt = 0.0, begin, 0
    for line in lines:
        now = float(line["time"])
        current = bisect_right([start for start, _ in starts], now) - 1
        if current > attempt:  # the lines before this one are those that its attempt went on from
            attempt, since = current, starts[current][0]
            base = max(clock.values(), default=0.0)
        clock[int(line["images_seen"])] = max(0.0, base + now - since)
    return clock


def _series(run: Run) -> dict[str, dict[int, Number]]:
    """Metric -> images seen -> value; of what was evaluated beside training only what training never logged."""
    evaluated = evaluations(run)
    found: dict[str, dict[int, Number]] = {}
    beside: dict[str, dict[int, Number]] = {}
    for number, line in enumerate(run.lines):
        into = beside if number in evaluated else found
        for name, value in line.items():
            if name not in NO_METRICS:
                into.setdefault(name, {})[int(line["images_seen"])] = value
    return beside | found


def _group(
    name: str,
    g: int,
    group: Group,
    series: Sequence[Mapping[str, Mapping[int, Number]]],
    clocks: Sequence[Mapping[int, float]],
    at_most: int,
) -> dict[str, Any] | None:
    members = [i for i in group.runs if name in series[i]]
    if not members:
        return None
    x = spread(sorted(set().union(*(series[i][name] for i in members))), at_most)
    values = np.array([[series[i][name].get(seen, math.nan) for seen in x] for i in members], dtype=float)
    times = np.array([[_time(clocks[i], seen) for seen in x] for i in members])
    there = ~np.isnan(times)
    seconds = np.where(there, times, 0).sum(0) / np.maximum(1, there.sum(0))
    found: dict[str, Any] = {"g": g, "n": len(members), "x": x, "t": _plain(np.maximum.accumulate(seconds), 5)}
    found["lines"] = [_plain(line) for line in values]
    found["runs"] = members
    if len(members) > 1:
        drawn = band(values)
        found |= {"mean": _plain(drawn.mean), "low": _plain(drawn.low), "high": _plain(drawn.high)}
        found["interval"] = drawn.interval
        if drawn.count.min() < len(members):
            found["count"] = drawn.count.tolist()
    return found


def _time(clock: Mapping[int, float], seen: int) -> float:
    return clock.get(seen, math.nan)


def _plain(values: np.ndarray, digits: int = 5) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()]


def _spans_decades(name: str, values: Sequence[Number]) -> bool:
    judged = any(word in name for word in ("loss", "fd", "kd", "grad"))
    return judged and bool(values) and min(values) > 0 and max(values) > 10 * min(values)


def _rank(name: str) -> tuple[int, str]:
    """Where a curve stands among the others: validation, distances and restorations before the rest."""
    head, last = name.partition("/")[0], name.rpartition("/")[2]
    if head in ("validation", "test"):
        return 0, name
    if head in ("fd", "kd"):
        return 1, name
    if name == "train/loss":
        return 2, name
    if head == "restoration":
        return (3 if last in ("psnr_hidden", "lpips") else 5), name
    return (6 if head == "loss_by_noise" else 4), name
