"""The pictures of a run folder as data URIs, with what is known about each."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, UnidentifiedImageError

from diffusion_lit.errors import UserError

__all__ = ["Picture", "picture", "restorations", "sample_grids", "spread"]

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """One PNG file.

    Args:
        uri: the file itself as a data URI.
        width, height: in its own pixels.
        images_seen: when in training it was made.
        about: the JSON beside it; empty if there is none.
    """

    uri: str
    width: int
    height: int
    images_seen: int
    about: dict[str, Any]

    def shown_width(self, at_most: int) -> int:
        """Return the largest whole multiple of its width up to `at_most` pixels, so that pixels stay square."""
        return self.width * max(1, at_most // self.width)


def picture(path: Path, images_seen: int) -> Picture:
    """Read a PNG file and the JSON beside it; raises UserError if either is damaged."""
    try:
        with Image.open(path) as image:
            width, height = image.size
        beside = path.with_suffix(".json")
        about = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    except (UnidentifiedImageError, ValueError) as error:
        raise UserError(
            f"{path}: the picture or the JSON beside it is damaged ({error}). Remove both files."
        ) from error
    return Picture(
        uri=f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}",
        width=width,
        height=height,
        images_seen=images_seen,
        about=about,
    )


def sample_grids(folder: Path) -> list[Picture]:
    """Return the grids of generated images over training, earliest first; if there are many, some evenly spread."""
    paths = {int(path.stem): path for path in (folder / "samples").glob("*.png") if path.stem.isdigit()}
    return [picture(paths[seen], seen) for seen in spread(sorted(paths), 8)]


def restorations(folder: Path) -> dict[int, list[Picture]]:
    """Return the restoration panels by images seen, latest first, each time's in alphabetical order."""
    times = {int(path.name): path for path in (folder / "restorations").glob("*") if path.name.isdigit()}
    return {
        seen: [_named(picture(path, seen), path) for path in sorted(times[seen].glob("*.png"))]
        for seen in reversed(spread(sorted(times), 6))
    }


def spread(items: Sequence[T], at_most: int) -> list[T]:
    """Return at most so many of the items, evenly spread, with the first and the last."""
    if len(items) <= at_most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (at_most - 1))] for i in range(at_most)]


def _named(panel: Picture, path: Path) -> Picture:
    operator, _, method = path.stem.partition("--")
    for key, value in {"operator": operator, "method": method, "columns": [], "metrics": {}}.items():
        panel.about.setdefault(key, value)
    return panel
