"""One self-contained HTML page of a run, or of several side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from diffusion_lit.files import write_text
from diffusion_lit.tracking.compare import compare, run_names
from diffusion_lit.tracking.curves import learning_curves, loss_by_noise
from diffusion_lit.tracking.identity import flatten
from diffusion_lit.tracking.pictures import restorations, sample_grids
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.results import headlines, lead, restoration_table, summary_groups
from diffusion_lit.tracking.words import Number, plain_words, quantity, show

__all__ = ["write_report"]


def write_report(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the page and return its path.

    It holds everything it shows: no script, no font and no picture is fetched from anywhere.

    Args:
        folders: one run folder, or several to compare.
        out: the HTML file to write.

    Raises:
        UserError: no folder is given, one holds no run, matplotlib is missing, or the file cannot be written.
    """
    comparison = compare(folders)
    records = [RunRecord(folder) for folder in folders]
    names = run_names(folders)
    metrics = {name: record.read_metrics() for name, record in zip(names, records)}
    page = _environment().get_template("report.html.jinja")
    html = page.render(
        title=names[0] if len(names) == 1 else f"{len(names)} runs compared",
        runs=[_run(name, record, metrics[name]) for name, record in zip(names, records)],
        comparison=comparison,
        shared_curves=learning_curves(metrics) if len(names) > 1 else [],
    )
    write_text(out, html)
    return Path(out)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"show": show, "words": plain_words, "quantity": quantity}
    return environment


def _run(name: str, record: RunRecord, metrics: list[dict[str, Any]]) -> dict[str, Any]:
    run, summary = record.run, record.summary
    panels = restorations(record.folder)
    latest = next(iter(panels.values()), [])
    data = run.get("data") or {}
    return {
        "name": name,
        "run": run,
        "lead": lead(run, metrics, restored=bool(panels)),
        "headlines": headlines(summary),
        "groups": summary_groups(summary),
        "panels": panels,
        "restoration": restoration_table(latest),
        "samples": sample_grids(record.folder),
        "curves": learning_curves({name: metrics}),
        "noise": loss_by_noise(metrics),
        "cost": _cost(run, summary, metrics),
        "config": yaml.safe_dump(record.config, sort_keys=False) if record.config else "",
        "data": [(key, json.dumps(value)) for key, value in flatten(data) if not isinstance(value, list | dict)],
        "manifest": json.dumps(data, indent=1, ensure_ascii=False) if data else "",
    }


def _cost(run: dict[str, Any], summary: dict[str, Number], metrics: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    """Return (words, metric name, value) of what the run took."""
    seconds = run.get("train_seconds") or summary.get("train_seconds")
    seen = metrics[-1]["images_seen"] if metrics else summary.get("images_seen")
    network = run.get("network") or {}
    rows = [
        ("Images seen", "images_seen", seen),
        ("Training time", "train_seconds", seconds),
        ("Images per second", "images_per_second", seen / seconds if seen and seconds else None),
        ("Network evaluations per sample", "nfe_per_sample", summary.get("nfe_per_sample")),
        ("Network parameters", "parameters", network.get("parameters")),
        ("FLOPs a forward pass", "flops", network.get("flops")),
        ("Bytes of memory", "memory_bytes", network.get("memory_bytes")),
    ]
    return [row for row in rows if row[2] is not None]
