"""The tables of an experiment as a paper prints them: Markdown, LaTeX (booktabs) and one HTML page.

A cell is the mean over seeds, with the standard deviation when there are several. Stale cells carry a dagger, missing
ones a dash; published numbers stand beside ours in brackets.
"""

import html
from typing import Any

import numpy as np

from diffusion_lit.reproduction.experiment import Experiment
from diffusion_lit.reproduction.results import Results
from diffusion_lit.tracking.table import Table

__all__ = ["MISSING", "page", "tables"]

#: What stands in a cell that was not measured.
MISSING = "\N{EN DASH}"

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0; border-block: 2px solid }}
td, th {{ padding: .25rem .9rem; text-align: right; font-variant-numeric: tabular-nums }}
td:first-child, th:first-child {{ text-align: left }} thead {{ border-bottom: 1px solid }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181d; color: #ddd }} }}
</style><h1>{title}</h1><p>{source}. Mean, and standard deviation over seeds where there are several;
published numbers in brackets; &dagger; an older configuration; &ndash; not measured.</p>{body}</html>
"""


def tables(experiment: Experiment, results: Results) -> list[tuple[str, Table]]:
    """The titles and tables that experiment.yaml asks for."""
    return [(spec.get("title", experiment.title), _table(experiment, results, spec)) for spec in experiment.tables]


def _table(experiment: Experiment, results: Results, spec: dict[str, Any]) -> Table:
    def labels(place: str) -> list[str]:
        axis = spec[place]
        if axis != "metrics":
            return list(experiment.axes[axis])
        return list(spec["value"]) if isinstance(spec["value"], list) else [spec["value"]]

    rows, columns = labels("rows"), labels("columns")
    means = np.full((len(rows), len(columns)), np.nan)
    cells = [[row] for row in rows]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            at = {spec["rows"]: row, spec["columns"]: column}
            metric = at.pop("metrics", spec["value"])
            cell, means[i, j] = _cell(results, metric, at, spec.get("format", ".3g"))
            published = spec.get("published", {}).get(row, {}).get(column)
            cells[i].append(cell if published is None else f"{cell} [{published:g}]")
    marked = set()
    if spec.get("best"):
        pick = {"min": np.nanargmin, "max": np.nanargmax}[spec["best"]]
        marked = {(int(pick(means[:, j])), j + 1) for j in range(len(columns)) if np.isfinite(means[:, j]).any()}
    corner = "" if spec["rows"] == "metrics" else spec["rows"]
    return Table([corner, *columns], cells, marked)


def _cell(results: Results, metric: str, at: dict[str, str], form: str) -> tuple[str, float]:
    found = [result for result in results.at(**at) if metric in result.metrics]
    if not found:
        return MISSING, float("nan")
    values = np.array([result.metrics[metric] for result in found])
    spread = f" ± {values.std(ddof=1):{form}}" if len(values) > 1 else ""
    old = {result.identity for result in results.stale.values()}
    return f"{values.mean():{form}}{spread}{'†' if any(r.identity in old for r in found) else ''}", float(values.mean())


def page(experiment: Experiment, found: list[tuple[str, Table]]) -> str:
    """One HTML page with all tables, which needs no other file."""

    def row(cells: list[str], tag: str, i: int, marked: set[tuple[int, int]]) -> str:
        bold = [f"<b>{html.escape(c)}</b>" if (i, j) in marked else html.escape(c) for j, c in enumerate(cells)]
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in bold) + "</tr>"

    body = ""
    for title, table in found:
        rows = "".join(row(cells, "td", i, table.marked) for i, cells in enumerate(table.rows))
        head = row(table.columns, "th", -1, set())
        body += f"<h2>{html.escape(title)}</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return _PAGE.format(title=html.escape(experiment.title), source=html.escape(experiment.source), body=body)
