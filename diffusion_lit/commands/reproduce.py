"""diffusion-lit reproduce NAME [--tiny] [--check] [--again] [--list] [--entry I,...]

Run what is missing of experiments/NAME, write its tables and check its claims.

    diffusion-lit reproduce ddim_steps_eta           measured entries are kept: an interrupted command goes on
    diffusion-lit reproduce ddim_steps_eta --check   run nothing: name what is missing or stale, check the claims
    diffusion-lit reproduce ddim_steps_eta --again   run everything anew
    diffusion-lit reproduce ddim_steps_eta --tiny    a small twin in seconds, which leaves the experiment's files alone
    diffusion-lit reproduce ddim_steps_eta --list    the entries and their numbers
    diffusion-lit reproduce ddim_steps_eta --entry 3 only this one: an element of a job array
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_lit.errors import UserError

if TYPE_CHECKING:
    from diffusion_lit.reproduction import Entry

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.files import write_text
    from diffusion_lit.reproduction import Experiment, Results
    from diffusion_lit.reproduction.claims import check, write_ledger
    from diffusion_lit.reproduction.paper import page, tables

    name, flags, chosen = _arguments(words)
    experiment = Experiment.read(Path("experiments") / name)
    kept, out, axes = experiment.folder, experiment.folder, experiment.axes
    scratch = Path.cwd() / "runs" / "experiments" / (f"{name}-tiny" if "--tiny" in flags else name)
    if "--tiny" in flags:
        experiment, kept, out = experiment.twin(), scratch / "none", scratch
    entries = experiment.entries()
    if "--list" in flags:
        for number, entry in enumerate(entries):
            print(f"{number:4d}  {entry.identity}  {entry}")
        return 0
    if unknown := [index for index in chosen if index >= len(entries)]:
        raise UserError(f"--entry {unknown[0]}: {name} has the entries 0 to {len(entries) - 1}; see --list")

    measured = scratch / "results.jsonl"
    if "--again" in flags:
        measured.unlink(missing_ok=True)

    def collect() -> Results:
        return Results.gather(entries, axes, *([] if "--again" in flags else [kept]), scratch)

    results = collect()
    wanted = [entries[index] for index in chosen] or entries
    todo = [] if "--check" in flags else [entry for entry in wanted if entry.identity not in results.fresh]
    script = experiment.script("measure")
    for number, entry in enumerate(todo, 1):
        # elements of a job array write files of their own
        _measure(script.measure, entry, scratch, scratch / f"results-{chosen[0]}.jsonl" if chosen else measured)
        print(f"{number}/{len(todo)}  {entry}", flush=True)
    if chosen:
        return 0

    results = collect()
    found = tables(experiment, results)
    text = "\n\n".join(f"{title}\n\n{table.text()}" for title, table in found)
    print(f"{experiment.title} ({experiment.source})\n\n{text}\n")
    for what, some in {
        "missing": results.missing,
        "stale": [e for e in entries if e.identity in results.stale],
    }.items():
        for entry in some:
            print(f"{what}: {entry}")
    rows = check(experiment.script("claims").claims(results), results)
    for row in rows:
        said = {True: "holds", False: "FAILS", None: "not measured"}[row["holds"]]
        print(
            f"{said:12} {row['name']}: {row['obtained']} ({row['bound']}) {row['reason'] if not row['holds'] else ''}"
        )
    if "--check" not in flags:
        results.write(out / "results.jsonl" if out == kept else out / "collected.jsonl")
        write_text(out / "table.md", "\n\n".join(f"**{title}**\n\n{table.markdown()}" for title, table in found) + "\n")
        write_text(out / "table.tex", "\n".join(table.latex(title) for title, table in found))
        write_text(out / "table.html", page(experiment, found))
        config = hashlib.sha256(json.dumps([entry.identity for entry in entries]).encode()).hexdigest()[:10]
        write_ledger(out / "ledger.json", rows, f"diffusion-lit reproduce {name}", config)
        figure = getattr(script, "figure", None)
        if figure is not None and not results.missing:
            figure(results, out / "figure.png")
    failed = [row for row in rows if row["holds"] is False and not row["reason"]]
    return int(bool(results.missing or results.stale or ("--tiny" not in flags and failed)))


def _measure(measure: Callable[..., dict[str, float]], entry: "Entry", scratch: Path, path: Path) -> None:
    """Train, if the entry trains, measure, and add a line to `path`."""
    from diffusion_lit.reproduction import Result
    from diffusion_lit.tracking.machine import hardware

    began = time.perf_counter()
    arguments = dict(entry.measure)
    if entry.train is not None:
        arguments["run"] = _trained(entry.overrides, scratch / str(entry.run_identity))
    metrics = measure(entry.seed, **arguments)
    result = Result(
        labels=entry.labels,
        seed=entry.seed,
        identity=entry.identity,
        metrics={key: float(value) for key, value in metrics.items()},
        minutes=round((time.perf_counter() - began) / 60, 2),
        hardware="{cores} cores, {cpu}".format(**hardware()),
        date=datetime.now(UTC).date().isoformat(),
        command="" if entry.train is None else " ".join(["diffusion-lit train", *entry.overrides]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


@cache
def _trained(overrides: tuple[str, ...], folder: Path) -> Path:
    """The run folder, its training finished; looked at once, however many entries share it."""
    from diffusion_lit.commands.train import fit
    from diffusion_lit.configuration import run_config

    said = StringIO()
    with redirect_stdout(said):
        status = fit(run_config([*overrides, "resume=auto", f"paths.run={folder}"]))
    if status:  # stopped by a signal: a job's script looks at the code
        print(f"{folder}: {said.getvalue().strip()}", file=sys.stderr)
        raise SystemExit(status)
    return folder


def _arguments(words: list[str]) -> tuple[str, set[str], list[int]]:
    known = {"--tiny", "--check", "--again", "--list"}
    chosen: list[int] = []
    if "--entry" in words:
        place = words.index("--entry")
        number = words[place + 1] if place + 1 < len(words) else ""
        if not all(part.isdigit() for part in number.split(",")):
            raise UserError(f"--entry {number}: needs numbers of entries, such as --entry 3 or --entry 3,4; see --list")
        words, chosen = [*words[:place], *words[place + 2 :]], [int(part) for part in number.split(",")]
    names = [word for word in words if not word.startswith("-")]
    flags = {word for word in words if word.startswith("-")}
    if len(names) != 1 or flags - known:
        there = sorted(path.parent.name for path in Path("experiments").glob("*/experiment.yaml"))
        raise UserError(
            f"reproduce {' '.join(words)}: expected one experiment and flags of {', '.join(sorted(known))}; "
            f"experiments here are {', '.join(there) or 'none'}"
        )
    return names[0], flags, chosen
