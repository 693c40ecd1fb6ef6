"""Write the page again and again while jobs run, whenever one of the runs has written something."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.comparison.compare import Comparison, compare_runs
from diffusion_lit.tracking.comparison.page import write_page
from diffusion_lit.tracking.comparison.runs import Run, aged, find_runs, read_run, run_names, signature
from diffusion_lit.tracking.words import Number

__all__ = ["follow", "watch"]


def follow(
    words: Sequence[str | Path], baseline: str = "", clock: Callable[[], float] = time.time
) -> Iterator[Comparison | None]:
    """Yield, each time it is asked, how the runs compare now, or None if nothing was written since.

    Runs that were added to a folder are found, and a run that has not changed is not read again.

    Args:
        words, baseline: as in `compare`; while no group is called like the baseline it is the first one.
        clock: unix seconds.

    Raises:
        UserError: a folder does not exist.
    """
    kept: dict[Path, tuple[object, Run]] = {}
    before: object = None
    while True:
        now = clock()
        try:
            folders = find_runs(words)
        except UserError:
            if before is None:
                raise
            folders = []  # moved away while it was watched; it may come back
        runs, marks = [], []
        for folder, name in zip(folders, run_names(folders)):
            mark = (name, signature(folder))
            if folder not in kept or kept[folder][0] != mark:
                kept[folder] = (mark, read_run(folder, name, now))
            runs.append(aged(kept[folder][1], now))
            marks.append((mark, runs[-1].state))
        if marks == before or not runs:
            yield None
            continue
        before = marks
        try:
            found = compare_runs(runs, baseline, now)
        except UserError:  # the baseline has not begun
            found = compare_runs(runs, "", now)
        yield found


def watch(words: Sequence[str | Path], out: str | Path, baseline: str = "", every: Number = 30.0) -> Iterator[str]:
    """Write the page whenever something changed, forever, and yield a line each time.

    Args:
        words, baseline: as in `compare`.
        out: the page; it loads itself again every `every` seconds.
        every: seconds between two looks.
    """
    last: Comparison | None = None
    try:
        for found in follow(words, baseline):
            if found is not None:
                last = found
                write_page(found, out, every)
                states = Counter(run.state for run in found.runs)
                told = ", ".join(f"{number} {state}" for state, number in states.items())
                yield f"{datetime.now().strftime('%H:%M:%S')}  {out}: {told}"
            time.sleep(every)
    finally:
        if last is not None:  # what stays behind does not load itself again
            write_page(last, out)
