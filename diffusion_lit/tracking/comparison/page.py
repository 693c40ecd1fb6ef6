"""One self-contained HTML page of many runs: tables that sort and filter, curves, pictures, cost."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from diffusion_lit.files import write_text
from diffusion_lit.tracking.comparison.compare import SIGNS, Comparison
from diffusion_lit.tracking.comparison.cost import COLUMNS, costs
from diffusion_lit.tracking.comparison.grids import album
from diffusion_lit.tracking.comparison.lines import curves
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.comparison.scores import Column, Scores
from diffusion_lit.tracking.comparison.verdicts import judge
from diffusion_lit.tracking.words import Number, show

__all__ = ["write_page"]

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "table.js", "charts.js", "pictures.js")
_STATES = ("running", "resumed", "starting", "empty", "stopped", "silent", "damaged", "finished")
_FILTERS = 6  # differences that can be chosen from a list of values


def write_page(comparison: Comparison, out: str | Path, every: Number = 0) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        comparison: what is shown.
        out: the HTML file.
        every: seconds after which an open page loads itself again; 0 for a page that is not written again.
    """
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"show": show}
    pictures = album(comparison.runs, comparison.groups)
    drawn = curves(comparison.runs, comparison.groups)
    tables = {"last": comparison.scores} | ({"equal": comparison.equal} if comparison.equal else {})
    training = [one for one in comparison.differences if not one.measuring]
    data = {
        "groups": [
            {
                "name": group.name,
                "values": group.values,
                "runs": [comparison.runs[i].name for i in group.runs],
                "seeds": [str(comparison.runs[i].seed) for i in group.runs],
                "search": " ".join(
                    [group.name, *(f"{k}={v}" for k, v in group.values.items())]
                    + [comparison.runs[i].name for i in [*group.runs, *group.repeats]]
                    + [comparison.runs[i].state for i in group.runs]
                ).lower(),
            }
            for group in comparison.groups
        ],
        "runs": [run.name for run in comparison.runs],
        "baseline": comparison.baseline,
        "signs": SIGNS,
        "tables": {name: _table(scores) for name, scores in tables.items()},
        "curves": drawn,
        "album": asdict(pictures),
        "every": every,
    }
    states = {state: sum(run.state == state for run in comparison.runs) for state in _STATES}
    html = environment.get_template("page.html.jinja").render(
        comparison=comparison,
        title=_title(comparison),
        written=datetime.fromtimestamp(comparison.written, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        every=every,
        states={state: count for state, count in states.items() if count},
        training=training,
        filters=[
            (one.label, values) for one in training[:_FILTERS] if len(values := _values(comparison, one.label)) > 1
        ],
        measuring=[(one, _by_value(comparison, one.full)) for one in comparison.differences if one.measuring],
        tables=tables,
        verdicts={name: [judge(c, comparison.baseline) for c in scores.columns] for name, scores in tables.items()},
        cost_columns=COLUMNS,
        costs=costs(comparison.runs, comparison.groups),
        drawn=drawn,
        pictures=pictures,
        warnings=comparison.warnings(),
        report=lambda run: _report(run, Path(out)),
        progress=_progress,
        seeds=lambda group: ", ".join(str(comparison.runs[i].seed) for i in group.runs),
        state_of=lambda group: _worst([comparison.runs[i] for i in group.runs]),
        finite=math.isfinite,
        style=Markup((_HERE.parent / "report.css").read_text("utf-8") + (_HERE / "page.css").read_text("utf-8")),
        script=Markup("\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)),
        data=_json(data),
    )
    write_text(out, html)
    return Path(out)


def _table(scores: Scores) -> list[dict[str, Any]]:
    return [_column(column) for column in scores.columns]


def _column(column: Column) -> dict[str, Any]:
    """A column for the script: with every group as the baseline, since any may be chosen."""
    judged = [judge(column, g) for g in range(len(column.cells))]
    kinds = range(len(column.kinds))
    return {
        "key": column.key,
        "title": column.what.title,
        "unit": column.what.unit,
        "main": column.main,
        "names": column.names,
        "depends": [_depends(kind) for kind in column.kinds],
        "why": [[column.why(k, other) for other in kinds] for k in kinds],
        "marks": [verdicts.marks for verdicts in judged],
        "best": [sorted(verdicts.best) for verdicts in judged],
        "reference": [verdicts.reference for verdicts in judged],
        "tests": [
            {g: [t.difference, t.low, t.high, t.p, t.paired] for g, t in verdicts.tests.items()} for verdicts in judged
        ],
        "cells": [
            None
            if cell is None
            else {
                "kind": cell.kind,
                "seeds": [[seed, show(value, column.what.unit)] for seed, value in cell.seeds.items()],
                "seen": cell.images_seen,
                "notes": cell.notes,
                "half": None if cell.half is None else float(f"{cell.half:.3g}"),
                "error": cell.by_error,
            }
            for cell in column.cells
        ],
    }


def _depends(kind: Mapping[str, str]) -> str:
    """What a number depends on, in one line; objects only by their place."""
    return ", ".join(f"{key} {value}" for key, value in kind.items() if not value.startswith("{"))


def _values(comparison: Comparison, label: str) -> list[str]:
    return list(dict.fromkeys(group.values.get(label) or "none" for group in comparison.groups if group.values))


def _by_value(comparison: Comparison, texts: list[str | None]) -> list[tuple[str, list[str]]]:
    known = [run.name for run in comparison.runs if run.config]
    found: dict[str, list[str]] = {}
    for name, text in zip(known, texts):
        found.setdefault(text or "not there", []).append(name)
    return list(found.items())


def _title(comparison: Comparison) -> str:
    names = {str(run.config["task_name"]) for run in comparison.runs if run.config.get("task_name")}
    runs = f"{len(comparison.runs)} run{'s' * (len(comparison.runs) > 1)}"
    return f"{names.pop()}: {runs} compared" if len(names) == 1 else f"{runs} compared"


def _worst(runs: list[Run]) -> str:
    return min((run.state for run in runs), key=_STATES.index)


def _progress(run: Run) -> float | None:
    """Percent of the images that the run is to see."""
    if not run.max_images:
        return None
    return round(min(100.0, 100 * run.images_seen / run.max_images), 1)


def _report(run: Run, out: Path) -> str | None:
    """A link to the run's own page, if it has one."""
    page = run.folder / "report.html"
    return quote(os.path.relpath(page, out.parent)) if page.exists() else None


def _json(data: Any) -> Markup:
    """As JSON that may stand in a script element."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _finite(data: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
