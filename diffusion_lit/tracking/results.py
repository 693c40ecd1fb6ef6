"""The tables of a report: what a run achieved beside its baselines, and its restorations by operator and method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lit.tracking.pictures import Picture
from diffusion_lit.tracking.words import Number, Quantity, best, is_baseline, plain_words, quantity, show

__all__ = ["Cell", "Group", "headlines", "lead", "restoration_table", "summary_groups"]

_COLUMNS = ("psnr", "psnr_hidden", "ssim", "lpips", "misfit", "nfe", "vjps", "seconds")
_HEADLINES = ("psnr_hidden/posterior_mean", "lpips/sample", "fd_alex/model", "misfit_ratio")


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Args:
        metric: its full name, which a reader of the page's DOM finds it by.
        value: the number, None if there is none.
        text: as shown.
        label: what it belongs to, in words.
        best: whether it wins its comparison.
        ours: whether it is this model's and not a baseline's.
        share: length of its bar, in percent.
    """

    metric: str
    value: Number | None
    text: str
    label: str = ""
    best: bool = False
    ours: bool = True
    share: Number = 0.0


@dataclass(frozen=True)
class Group:
    """Numbers of one quantity, best first."""

    quantity: Quantity
    cells: list[Cell]


def summary_groups(summary: Mapping[str, Number]) -> list[Group]:
    """Return the final table as one group a quantity (head of the key), and one of all that stands alone."""
    grouped: dict[str, dict[str, Number]] = {}
    for key, value in summary.items():
        if "/" in key:
            grouped.setdefault(key.split("/")[0], {})[key] = value
    groups = [_ranked(quantity(head), numbers) for head, numbers in grouped.items()]
    alone = [Cell(k, v, show(v, quantity(k).unit), quantity(k).title) for k, v in summary.items() if "/" not in k]
    return groups + ([Group(Quantity("Calibration and cost"), alone)] if alone else [])


def headlines(summary: Mapping[str, Number]) -> list[tuple[Cell, str]]:
    """Return the few numbers to see first, each with the number to hold it against, in words."""
    result = []
    for key in (key for key in _HEADLINES if key in summary):
        what = quantity(key)
        own = Cell(key, summary[key], show(summary[key], what.unit), _headline(key))
        kind = key.split("/")[0] + "/"
        rivals = {k: v for k, v in summary.items() if k.startswith(kind) and is_baseline(k) and not _is_floor(k)}
        winners = best(list(rivals.values()), what.goal) or set(range(len(rivals)))
        against = [f"{plain_words(k.split('/')[-1])} {show(v, what.unit)}" for k, v in rivals.items()]
        note = f"best baseline: {against[min(winners)]}" if against else what.note
        result.append((own, note))
    return result


def restoration_table(panels: Sequence[Picture]) -> tuple[list[str], list[list[Any]]]:
    """Return (headings, rows) of operator x method; the best method of each operator is marked in every column."""
    found = {key for panel in panels for key in panel.about["metrics"]}
    told = {
        "misfit_expected",
        "misfit_ratio",
        *(f"{c}_sample" for c in _COLUMNS),
    }  # in another column, or in the summary
    columns = [c for c in _COLUMNS if c in found] + sorted(found - {*_COLUMNS} - told)
    rows = []
    for panel in panels:
        about, metrics = panel.about, panel.about["metrics"]
        rivals = [other.about["metrics"] for other in panels if other.about["operator"] == about["operator"]]
        cells = [
            Cell(
                metric=f"restoration/{about['operator']}/{about['method']}/{column}",
                value=metrics.get(column),
                text=_restoration_text(column, metrics),
                best=rivals.index(metrics) in best([_judged(column, m) for m in rivals], _goal(column)),
            )
            for column in columns
        ]
        rows.append([plain_words(about["operator"]), plain_words(about["method"]), cells])
    return [_heading(column) for column in columns], rows


def lead(run: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], restored: bool) -> str:
    """Return the paragraph that says what this run is, and what its restorations are if there are any."""
    network, data = run.get("network") or {}, run.get("data") or {}
    size = f" of {show(network['parameters'])} parameters" if network.get("parameters") else ""
    name = data.get("name") or data.get("source")
    source = f" on {name if isinstance(name, str) else 'its data'}" if data else ""
    seen = f", for {show(max(line['images_seen'] for line in metrics))} images" if metrics else ""
    took = f" in {show(run['train_seconds'], 's')}" if run.get("train_seconds") else ""
    prior = (
        " It was never told of any restoration task: each restoration below draws images that agree both with the "
        "measurement and with what the network learned images look like."
    )
    return f"A denoiser{size} trained{source}{seen}{took}.{prior if restored else ''}"


def _ranked(what: Quantity, numbers: Mapping[str, Number]) -> Group:
    rated = [v for k, v in numbers.items() if not _is_floor(k)]
    winners = {rated[i] for i in best(list(rated), what.goal)}
    largest = max((abs(v) for v in numbers.values() if abs(v) < float("inf")), default=0.0) or 1.0
    cells = [
        Cell(
            metric=key,
            value=value,
            text=show(value, what.unit),
            label=plain_words(key.split("/", 1)[1]),
            best=value in winners and not _is_floor(key),
            ours=not is_baseline(key),
            share=round(100 * min(1.0, abs(value) / largest), 1) if abs(value) < float("inf") else 0.0,
        )
        for key, value in numbers.items()
    ]
    sign = -1 if what.goal == "high" else 1
    return Group(what, sorted(cells, key=lambda c: (_is_floor(c.metric), sign * (c.value or 0.0))))


def _headline(key: str) -> str:
    title, _, whose = quantity(key).title, *key.partition("/")[1:]
    return f"{title}, {plain_words(whose)}" if whose else title


def _is_floor(key: str) -> bool:
    return key.endswith("/floor")  # real against real: nothing competes with it


def _goal(column: str) -> str:
    return "one" if column == "misfit" else quantity(column).goal


def _judged(column: str, metrics: Mapping[str, Any]) -> Number | None:
    if column == "misfit":
        expected = metrics.get("misfit_expected")
        return metrics["misfit"] / expected if expected and metrics.get("misfit") is not None else None
    return metrics.get(column)


def _restoration_text(column: str, metrics: Mapping[str, Any]) -> str:
    value, ratio = metrics.get(column), _judged(column, metrics)
    if value is None:
        return "-"
    if column == "misfit" and ratio is not None:
        return f"{show(value)} / {show(metrics['misfit_expected'])} = {ratio:.2f}"
    return show(value, quantity(column).unit)


def _heading(column: str) -> str:
    short = {"psnr_hidden": "PSNR, hidden", "misfit": "Misfit / expected", "nfe": "NFE", "vjps": "VJPs"}
    return short.get(column) or quantity(column).title
