"""Runs side by side: what differs between them, what came of it, and what may be said of the difference."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.comparison.differences import Difference
from diffusion_lit.tracking.comparison.groups import Group, find_group, group_runs
from diffusion_lit.tracking.comparison.runs import Run, find_runs, read_run, run_names
from diffusion_lit.tracking.comparison.scores import Scores, score
from diffusion_lit.tracking.comparison.verdicts import judge
from diffusion_lit.tracking.table import Table
from diffusion_lit.tracking.words import Number

__all__ = ["FORMATS", "SIGNS", "Comparison", "compare", "compare_runs"]

#: What stands behind a number for each letter of `Verdicts.marks`.
SIGNS = {"+": " ▲", "-": " ▼", "*": " ≠", "x": " ✕"}
_LEGEND = (
    ("*", "* best of its column"),
    ("▲", "▲ ▼ better, worse than {baseline} (Holm-corrected p < .05)"),
    ("≠", "≠ different from {baseline}"),
    ("✕", "✕ measured otherwise than {baseline}, so not compared"),
    ("±", "± half the 95 % interval of the mean over seeds"),
)


@dataclass(frozen=True)
class Comparison:
    """Everything that is said of some runs, before it is drawn.

    Args:
        runs: as they stood.
        groups: of runs that differ in their seeds only.
        differences: between the configurations; their texts are in the order of the runs that have one.
        scores: every run's last numbers.
        equal: numbers at equal images seen, None if that is where all runs are anyway.
        baseline: position of the group that the others are compared with.
        written: unix seconds.
    """

    runs: list[Run]
    groups: list[Group]
    differences: list[Difference]
    scores: Scores
    equal: Scores | None
    baseline: int
    written: float

    def table(self, at_most: int | None = None) -> Table:
        """Return rows of groups and the first columns of metrics, the best of each column marked."""
        columns = [column for column in self.scores.columns if column.main][:at_most]
        rows = [[group.name, str(len(group.runs))] for group in self.groups]
        marked = set()
        for j, column in enumerate(columns, start=2):
            verdicts = judge(column, self.baseline)
            for i, (cell, mark) in enumerate(zip(column.cells, verdicts.marks)):
                rows[i].append("-" if cell is None else cell.text(column.what.unit) + SIGNS.get(mark, ""))
            marked |= {(i, j) for i in verdicts.best}
        return Table(["group", "seeds", *(column.key for column in columns)], rows, marked)

    def text(self, width: int | None = None) -> str:
        """Return the table for a terminal of `width` characters, and what is not as it should be below."""
        shown = sum(column.main for column in self.scores.columns)
        table = self.table().text(width)
        while width is not None and shown > 1 and max(map(len, table.splitlines())) > width:
            shown -= 1
            table = self.table(shown).text(width)
        legend = "; ".join(said for sign, said in _LEGEND if sign in table)
        parts = [table, legend.format(baseline=self.groups[self.baseline].name), *self.warnings()]
        if hidden := len(self.scores.columns) - shown:
            parts.append(f"{hidden} more columns are in the page and in format=csv")
        return "\n".join(part for part in parts if part)

    def markdown(self) -> str:
        """Return the main table and what differs, in Markdown."""
        training = [one for one in self.differences if not one.measuring]
        rows = [[group.name, *(group.values.get(one.label) or "-" for one in training)] for group in self.groups]
        differs = Table(["group", *(one.label for one in training)], rows).markdown() if training else ""
        return "\n\n".join(part for part in (self.table().markdown(), differs, *self.warnings()) if part)

    def latex(self) -> str:
        """Return the main table in LaTeX."""
        intervals = "Mean over seeds, with half its 95\N{NO-BREAK SPACE}% interval where there are several"
        base = self.groups[self.baseline].name
        return self.table().latex(f"{intervals}; ▲ ▼ better or worse than {base} (Holm-corrected p < .05)")

    def csv(self) -> str:
        """Return one line a group and metric, with all that the page knows of it."""
        labels = list(dict.fromkeys(label for group in self.groups for label in group.values))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        head = [
            "group",
            *labels,
            "metric",
            "seeds",
            "mean",
            "low",
            "high",
            "images_seen",
            "compared",
            "difference",
            "p",
        ]
        writer.writerow(head)
        for column in self.scores.columns:
            verdicts = judge(column, self.baseline)
            for g, (group, cell) in enumerate(zip(self.groups, column.cells)):
                if cell is None:
                    continue
                ends: list[Number | str] = ["", ""]
                if cell.half is not None:
                    ends = [cell.mean - cell.half, cell.mean + cell.half]
                test = verdicts.tests.get(g)
                row = [group.name, *(group.values.get(label) or "" for label in labels), column.key, len(cell.seeds)]
                row += [cell.mean, *ends, cell.images_seen, "no" if verdicts.marks[g] == "x" else "yes"]
                writer.writerow([*row, test.difference if test else "", test.p if test else ""])
        return out.getvalue().rstrip("\n")

    def warnings(self) -> list[str]:
        """Return a line for each run that is not finished and each thing that hinders comparing."""
        found = [f"{run.name}: {run.state}: {run.note}" for run in self.runs if run.state != "finished"]
        for group in self.groups:
            for i in group.repeats:
                found.append(f"{self.runs[i].name}: a second run of seed {self.runs[i].seed}, which does not count")
        if len({run.data["identity"] for run in self.runs if run.data.get("identity")}) > 1:
            found.append("the runs were not trained on the same data")
        return found


def compare(words: Sequence[str | Path], baseline: str = "") -> Comparison:
    """Read the runs that are meant and compare them.

    Args:
        words: run folders, folders of runs, or patterns.
        baseline: name of the group to compare with, a part of it, or a run of it; the first group if "".

    Raises:
        UserError: no run is meant, or no such baseline.
    """
    folders = find_runs(words)
    now = time.time()
    runs = [read_run(folder, name, now) for folder, name in zip(folders, run_names(folders))]
    if all(run.state == "empty" for run in runs):
        raise UserError(f"{', '.join(map(str, words))}: no run was started here (run.json is missing)")
    return compare_runs(runs, baseline, now)


def compare_runs(runs: Sequence[Run], baseline: str = "", now: float = 0.0) -> Comparison:
    """Compare runs that were read; see `compare`."""
    groups, differences = group_runs(runs)
    ends = {run.images_seen for run in runs if run.lines}
    apart = len(ends) > 1 or any(run.lines and run.state != "finished" for run in runs)
    equal = score(runs, groups, equal=True) if apart else None
    place = find_group(groups, runs, baseline)
    return Comparison(list(runs), groups, differences, score(runs, groups), equal, place, now)


#: What can be printed.
FORMATS = {
    "text": Comparison.text,
    "markdown": Comparison.markdown,
    "latex": Comparison.latex,
    "csv": Comparison.csv,
}
