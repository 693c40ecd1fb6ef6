"""What a job is called by, and what it leaves when it ends: the table, the page, and a word about what failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError
from diffusion_lit.restoration.folder import Folder
from diffusion_lit.restoration.inputs import Input, digest
from diffusion_lit.restoration.job import Job
from diffusion_lit.restoration.page import write_page
from diffusion_lit.restoration.tables import terminal, write_tables

__all__ = ["finish", "settings_of"]


def settings_of(job: Job, weights: Path, ema: float, method: Mapping[str, Any]) -> dict[str, Any]:
    """All that changes a result, for `Folder`.

    Args:
        job: the job.
        weights: the file of the prior, of which the content counts.
        ema: which of its averages; < 0 for the first.
        method: its name and arguments.
    """
    return {
        "inputs": "measured" if job.measured else "clean",
        "operator": dict(job.recipe.facts),
        "method": dict(method),
        "samples": job.samples,
        "sigma": "estimate" if job.sigma is None else job.sigma,
        "seed": job.seed,
        "size": "own" if job.size is None else list(job.size),
        "ema": None if ema < 0 else ema,
        "weights": digest(weights),
    }


def finish(folder: Folder, inputs: Sequence[Input], settings: Mapping[str, Any]) -> int:
    """Write the table and the page of what is there, print them, and return 0.

    Raises:
        UserError: images failed; it names the first.
    """
    facts = {
        "measurement": _words(settings["operator"]),
        "method": _words(settings["method"]),
        "samples of each image": str(settings["samples"]),
        "noise": "estimated, image by image" if settings["sigma"] == "estimate" else f"sigma {settings['sigma']}",
        "seed": str(settings["seed"]),
        "prior": f"{settings['checkpoint']} (SHA-256 {settings['weights'][:10]}…)",
    }
    with folder.locked("table"):  # the last process to come here sees the records of all
        rows = folder.rows(inputs)
        write_tables(folder.path, rows)
        page = write_page(folder, inputs, "Restored images", facts)
    failed = [row for row in rows if "error" in row]
    if len(failed) < len(rows):
        print(f"{terminal(rows)}\n\n{page}")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(inputs)} images failed, {failed[0]['image']}: {failed[0]['error']} "
            f"(what else was restored is in {folder.path})"
        )
    return 0


def _words(facts: Mapping[str, Any]) -> str:
    """Facts in words; of a digest the first digits."""
    parts = [str(facts["name"])] if "name" in facts else []
    for key, value in facts.items():
        if key != "name":
            text = f"{value[:10]}…" if isinstance(value, str) and len(value) == 64 else str(value)
            parts.append(f"{key} {text}")
    return ", ".join(parts)
