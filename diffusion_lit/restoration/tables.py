"""The table of a folder's results: as JSON, as CSV and on the terminal."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusion_lit.files import write_text
from diffusion_lit.tracking.table import Table
from diffusion_lit.tracking.words import show

__all__ = ["TITLES", "columns", "means", "terminal", "text", "write_tables"]

Row = Mapping[str, Any]

#: The numbers of a row that are shown, and what they are called.
TITLES = {
    "size": "size",
    "sigma": "noise (sigma)",
    "psnr": "PSNR of the mean",
    "psnr_sample": "PSNR of a sample",
    "psnr_hidden": "PSNR, hidden pixels",
    "ssim": "SSIM of the mean",
    "misfit_ratio": "misfit / expected",
    "deviation": "std. dev.",
    "seconds": "time",
}
_UNITS = {"psnr": "dB", "psnr_sample": "dB", "psnr_hidden": "dB", "seconds": "s"}


def columns(rows: Sequence[Row]) -> list[str]:
    """The names of the numbers that any row has, in the order in which they are shown."""
    return [name for name in TITLES if any(name in row for row in rows)]


def means(rows: Sequence[Row]) -> dict[str, float]:
    """The mean of each number over the rows that have it."""
    found = {name: [float(row[name]) for row in rows if name in row] for name in columns(rows) if name != "size"}
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


def text(name: str, value: Any) -> str:
    """A cell of the table as a reader wants it."""
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if name in ("sigma", "deviation") else show(value, _UNITS.get(name, ""))


def write_tables(folder: Path, rows: Sequence[Row]) -> None:
    """Write table.json and table.csv, one row an image; those that failed have an `error`."""
    write_text(folder / "table.json", json.dumps(list(rows), indent=2) + "\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "table.csv", lines.getvalue())


def terminal(rows: Sequence[Row]) -> str:
    """The table for a terminal, with the means below; of many images the means alone."""
    done = [row for row in rows if "error" not in row]
    names = columns(done)
    lines = [[row["image"], *(text(name, row[name]) if name in row else "-" for name in names)] for row in done]
    mean = means(done)
    last = [f"mean of {len(done)}", *(text(name, mean[name]) if name in mean else "" for name in names)]
    return Table(["image", *names], [*(lines if len(lines) <= 40 else []), last]).text()
