"""One self-contained HTML page of a run; several stand side by side in `comparison`."""

import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from diffusion_lit.files import write_text
from diffusion_lit.tracking.curves import learning_curves, loss_by_noise
from diffusion_lit.tracking.identity import flatten
from diffusion_lit.tracking.pictures import restorations, sample_grids
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.results import headlines, lead, restoration_table, summary_groups
from diffusion_lit.tracking.words import Number, plain_words, quantity, show

__all__ = ["write_report"]


def write_report(folder: str | Path, out: str | Path) -> Path:
    """Write the page and return its path.

    It holds everything it shows: no script, no font and no picture is fetched from anywhere.

    Args:
        folder: the run folder.
        out: the HTML file to write.

    Raises:
        UserError: the folder holds no run, matplotlib is missing, or the file cannot be written.
    """
    record = RunRecord(folder)
    page = _environment().get_template("report.html.jinja")
    write_text(out, page.render(entry=_run(record.folder.resolve().name, record, record.read_metrics())))
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
        "curves": learning_curves(metrics),
        "noise": loss_by_noise(metrics),
        "cost": _cost(run, summary, metrics),
        "config": yaml.safe_dump(record.config, sort_keys=False) if record.config else "",
        "data": [(key, json.dumps(value)) for key, value in flatten(data) if not isinstance(value, list | dict)],
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
