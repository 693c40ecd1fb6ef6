"""Which metrics of a run share a chart, what the chart is called, and how its lines are labelled."""

import math
from dataclasses import dataclass
from typing import Any

from diffusion_lit.tracking.charts import Line, draw, smooth
from diffusion_lit.tracking.lines import series
from diffusion_lit.tracking.pictures import spread
from diffusion_lit.tracking.words import plain_words, quantity

__all__ = ["Chart", "learning_curves", "loss_by_noise"]

_SKIPPED = ("images_seen", "time", "epoch")
_MOST_LINES = 12


@dataclass(frozen=True)
class Chart:
    """A drawn chart with its title; `main` ones are shown at once, the others when asked for."""

    title: str
    svg: str
    main: bool


def learning_curves(lines: list[dict[str, Any]]) -> list[Chart]:
    """Draw every metric of a run over images seen, metrics of one kind in one chart.

    Args:
        lines: of its metrics.jsonl.
    """
    groups: dict[tuple[str, bool], list[Line]] = {}
    for name in _names(lines):
        title, label, main = _place(name)
        x, y = series(lines, name)
        into = groups.setdefault((title, main), [])
        if name.startswith("train/") and len(y) > 24:
            into.append(Line(label, x, y, faint=True))
            y = smooth(y, len(y) / 20)
        into.append(Line(label, x, y))
    charts = [
        Chart(title, draw(drawn[: 2 * _MOST_LINES], log=_spans_decades(title, drawn)), main)
        for (title, main), drawn in groups.items()
    ]
    return sorted(charts, key=lambda chart: (not chart.main, not chart.title.startswith(("Training", "Validation"))))


def loss_by_noise(lines: list[dict[str, Any]]) -> list[Chart]:
    """Draw the loss in each bin of noise level: a line for each of a few times in training, a chart for each EMA."""
    names = [name for name in _names(lines, skip=False) if name.startswith("loss_by_noise/")]
    charts = []
    for prefix in dict.fromkeys(name.rsplit("/", 1)[0] for name in names):
        bins = sorted(name for name in names if name.startswith(f"{prefix}/") and name.rsplit("/", 1)[1].isdigit())
        rows = [line for line in lines if bins and all(name in line for name in bins)]
        shown = spread(rows, 5)
        drawn = [
            Line(f"{row['images_seen']:,} images", [int(b.rsplit("/", 1)[1]) for b in bins], [row[b] for b in bins],
                 colour=i / max(1, len(shown) - 1))
            for i, row in enumerate(shown)
        ]  # fmt: skip
        if drawn:
            title = ", ".join(["Loss by noise level", *prefix.split("/")[1:]])
            svg = draw(drawn, x_label="bin of noise level", y_label="loss", log=_spans_decades("loss", drawn))
            charts.append(Chart(title, svg, main=True))
    return charts


def _names(lines: list[dict[str, Any]], skip: bool = True) -> list[str]:
    names = dict.fromkeys(name for line in lines for name, value in line.items() if isinstance(value, int | float))
    return [n for n in names if n not in _SKIPPED and not (skip and n.startswith("loss_by_noise/"))]


def _place(name: str) -> tuple[str, str, bool]:
    """Return the chart's title, the line's label, and whether the chart is a main one."""
    head, *rest = name.split("/")
    if name == "train/loss":
        return "Training loss", "loss", True
    if name.startswith("validation/loss"):
        return "Validation loss", ", ".join(rest[1:]) or "loss", True
    if head == "restoration" and len(rest) >= 3:
        operator, *how, metric = rest
        title = f"{quantity(metric).title if quantity(metric).goal else plain_words(metric)}: {plain_words(operator)}"
        return title, ", ".join(map(plain_words, how)), metric in ("psnr_hidden", "lpips")
    if head in ("fd", "kd") and len(rest) >= 2:
        return f"{quantity(head).title}, {rest[0]}, {rest[1]}", ", ".join(rest[2:]) or head, True
    return plain_words(name), plain_words(rest[-1] if rest else head), False


def _spans_decades(title: str, lines: list[Line]) -> bool:
    if not any(word in title for word in ("loss", "Loss", "distance", "gradient", "grad")):
        return False
    values = [value for line in lines for value in line.y if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > 10 * min(values)
