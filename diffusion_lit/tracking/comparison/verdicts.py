"""Each group beside a baseline: comparable or not, different or not, better or worse."""

import math
from dataclasses import dataclass

import numpy as np

from diffusion_lit.tracking.comparison.scores import Cell, Column
from diffusion_lit.tracking.statistics import difference, holm, is_paired
from diffusion_lit.tracking.words import Number, best

__all__ = ["ALPHA", "Test", "Verdicts", "judge"]

#: A corrected p-value below it is called a difference.
ALPHA = 0.05


@dataclass(frozen=True)
class Test:
    """One group against the baseline.

    Args:
        difference, low, high: group minus baseline and its 95 % interval.
        p: corrected for the number of groups tested.
        paired: the paired test on common seeds, otherwise Welch's.
    """

    difference: Number
    low: Number
    high: Number
    p: Number
    paired: bool


@dataclass(frozen=True)
class Verdicts:
    """One column beside a baseline.

    Args:
        marks: one letter a group: "." no number, "b" the baseline, "x" not comparable with it, "s" no test for want of
            seeds, "n" no difference shown, "+" better, "-" worse, "*" different where neither way is better.
        best: positions of the best comparable groups.
        tests: position of a group -> its test.
        reference: the kind of number that is compared.
    """

    marks: str
    best: set[int]
    tests: dict[int, Test]
    reference: int


def judge(column: Column, baseline: int) -> Verdicts:
    """Compare all groups with one; groups whose numbers depend on something else are not compared.

    Args:
        column: of the table.
        baseline: position of a group; where it has no number, the most common kind of number is compared, untested.
    """
    cells, base = column.cells, column.cells[baseline]
    kinds = [cell.kind for cell in cells if cell is not None]
    reference = base.kind if base is not None else max(set(kinds), key=lambda kind: (kinds.count(kind), -kind))
    tests: dict[int, Test] = {}
    for g, cell in enumerate(cells):
        if base is not None and cell is not None and g != baseline and cell.kind == reference:
            found = _test(base, cell)
            if found is not None:
                tests[g] = found
    corrected = holm([test.p for test in tests.values()])
    tests = {
        g: Test(test.difference, test.low, test.high, p, test.paired)
        for (g, test), p in zip(tests.items(), corrected)
    }  # fmt: skip
    marks = "".join(_mark(column, g, baseline, reference, tests.get(g)) for g in range(len(cells)))
    comparable = [cell.mean if cell is not None and cell.kind == reference else None for cell in cells]
    return Verdicts(marks, best(comparable, column.what.goal), tests, reference)


def _test(base: Cell, cell: Cell) -> Test | None:
    if min(len(base.seeds), len(cell.seeds)) < 2:
        return None
    paired = is_paired(base.seeds, cell.seeds)
    one = np.array(list(base.seeds.values()), dtype=float)
    two = np.array([cell.seeds[seed] for seed in base.seeds] if paired else list(cell.seeds.values()), dtype=float)
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return None
    found = difference(one, two, paired)
    if found is None or math.isnan(float(found.p)):
        return None
    return Test(float(found.mean), float(found.low), float(found.high), float(found.p), paired)


def _mark(column: Column, g: int, baseline: int, reference: int, test: Test | None) -> str:
    cell = column.cells[g]
    if cell is None:
        return "."
    if g == baseline:
        return "b"
    if cell.kind != reference:
        return "x"
    if test is None:
        return "s"
    if test.p >= ALPHA:
        return "n"
    base = column.cells[baseline]
    assert base is not None
    cost = {"high": lambda v: -v, "low": lambda v: v, "one": lambda v: abs(v - 1)}.get(column.what.goal)
    if cost is None:
        return "*"
    return "+" if cost(cell.mean) < cost(base.mean) else "-"
