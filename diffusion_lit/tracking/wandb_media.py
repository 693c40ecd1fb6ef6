"""The pictures of a run folder as W&B's images and tables."""

import json
from pathlib import Path
from typing import Any

import wandb
from PIL import Image

__all__ = ["ROWS", "media"]

ROWS = 64  # of a table, at most
_COLUMNS = {"degraded": "measurement", "restored": "mean", "truth": "truth"}  # of the table: of the panel


def media(path: Path) -> dict[str, Any]:
    """Return what W&B shows of a picture: itself and, of a restoration, a table with a row an image.

    Args:
        path: a PNG with a JSON beside it, as `callbacks.pictures.Picture` writes them.
    """
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    restored = path.parent.name != "samples"
    name = path.stem if restored else "samples"
    told = ("operator", "method", "sampler", "nfe", "n", "weights")
    caption = ", ".join(f"{key} {about[key]}" for key in told if key in about)
    columns = ", ".join(about.get("columns", []))
    shown: dict[str, Any] = {
        f"pictures/{name}": wandb.Image(str(path), caption=caption + (f": {columns}" if columns else ""))
    }
    if restored and "cell" in about and set(_COLUMNS.values()) <= set(about["columns"]):
        shown[f"tables/{name}"] = _table(path, about)
    return shown


def _table(path: Path, about: dict[str, Any]) -> wandb.Table:
    """One row an image: id, degraded, restored (the posterior mean), truth, and the scores of that mean."""
    (height, width), columns, ids = about["cell"], about["columns"], about["ids"][:ROWS]
    scores = about.get("scores", {})
    table = wandb.Table(["id", *_COLUMNS, "PSNR", "LPIPS"])
    with Image.open(path) as panel:
        gaps = [(panel.width - len(columns) * width) // (len(columns) - 1), 0]
        gaps[1] = (panel.height - len(about["ids"]) * height) // max(1, len(about["ids"]) - 1)
        for row, name in enumerate(ids):
            top = row * (height + gaps[1])
            cells = []
            for column in _COLUMNS.values():
                left = columns.index(column) * (width + gaps[0])
                cells.append(wandb.Image(panel.crop((left, top, left + width, top + height))))
            numbers = [scores[score][row] if score in scores else None for score in ("psnr", "lpips")]
            table.add_data(str(name), *cells, *numbers)
    return table
