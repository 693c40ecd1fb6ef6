"""Sample grids and restorations of several runs, cut so that the same image stands in the same row of all of them.

A page holds its pictures, so they share a budget: each is stored once however often it is shown, and those that are
larger than their share are compressed, then made smaller.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from diffusion_lit.tracking.comparison.groups import Group
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.pictures import spread

__all__ = ["Album", "album"]

_BUDGET = 2_400_000  # bytes of all pictures of a page
_LEAST = 4_000  # bytes of one picture below which rather fewer times are shown
_GAP = 2  # white pixels between the images of a panel
_ROWS = 8
_Opened = dict[Path, tuple[Image.Image, dict[str, Any]] | str]  # what was read of a file, or what is wrong with it


@dataclass
class Album:
    """What the script of the page shows.

    Args:
        pictures: name of a picture -> {"uri", "width", "height"}, its size before it was made smaller.
        times: images seen that can be chosen, beside each run's last.
        samples: one entry a group: {"g", "run", "at": {images seen: picture}, "last": images seen, "about"}.
        restorations: one entry a task and method: its name, its columns, and such entries whose "at" has a list of one
            picture a column and whose "ids" are the rows.
        damaged: path -> what is wrong with it.
    """

    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    restorations: list[dict[str, Any]] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)


def album(runs: Sequence[Run], groups: Sequence[Group], budget: int = _BUDGET) -> Album:
    """Gather the pictures of the first seed of each group that has any.

    Args:
        runs: all runs.
        groups: of them.
        budget: bytes that all pictures may take; at most a little more is used.
    """
    opened: _Opened = {}
    for at_most in (4, 2, 0):
        found = Album()
        raw: dict[str, Image.Image] = {}
        shown = [(g, _first(runs, group)) for g, group in enumerate(groups)]
        shown = [(g, i) for g, i in shown if i is not None]
        found.times = _times([runs[i] for _, i in shown], at_most)
        for g, i in shown:
            _add_samples(found, raw, opened, g, i, runs[i])
            _add_restorations(found, raw, opened, g, i, runs[i])
        if len(raw) * _LEAST <= budget:
            break
    found.restorations.sort(key=lambda panel: -max(entry["last"] for entry in panel["runs"]))
    share = budget // max(1, len(raw))
    found.pictures = {name: _encoded(image, share) for name, image in raw.items()}
    return found


def _first(runs: Sequence[Run], group: Group) -> int | None:
    """The first seed with pictures: chosen by its number, not by its looks."""
    return next((i for i in group.runs if _sample_paths(runs[i]) or _panel_paths(runs[i])), None)


def _times(runs: Sequence[Run], at_most: int) -> list[int]:
    """Some images seen at which all runs have pictures; of any run if there are none."""
    seen = [{*_sample_paths(run), *_panel_paths(run)} for run in runs]
    common = set.intersection(*seen) if seen else set()
    return spread(sorted(common or set().union(*seen)), at_most) if at_most else []


def _sample_paths(run: Run) -> dict[int, Path]:
    return {int(path.stem): path for path in (run.folder / "samples").glob("*.png") if path.stem.isdigit()}


def _panel_paths(run: Run) -> dict[int, Path]:
    return {int(path.name): path for path in (run.folder / "restorations").glob("*") if path.name.isdigit()}


def _add_samples(found: Album, raw: dict[str, Image.Image], opened: _Opened, g: int, i: int, run: Run) -> None:
    paths = _sample_paths(run)
    at = {}
    for seen in _chosen(sorted(paths), found.times):
        content = _open(paths[seen], opened, found)
        if content is not None:
            at[seen], about = _keep(content[0], raw), content[1]
    if at:
        found.samples.append({"g": g, "run": i, "at": at, "last": max(at), "about": about})


def _add_restorations(found: Album, raw: dict[str, Image.Image], opened: _Opened, g: int, i: int, run: Run) -> None:
    paths = _panel_paths(run)
    for seen in _chosen(sorted(paths), found.times):
        for path in sorted(paths[seen].glob("*.png")):
            content = _open(path, opened, found)
            if content is None:
                continue
            image, about = content
            columns, ids = about.get("columns"), about.get("ids")
            if not (isinstance(columns, list) and columns and isinstance(ids, list) and ids):
                found.damaged[str(path)] = "the JSON beside it does not name its columns and rows"
                continue
            strips = [_keep(strip, raw) for strip in _strips(image, len(columns), len(ids))]
            entry = _entry(found, path.stem, [str(column) for column in columns], g, i, ids[:_ROWS], run)
            entry["at"][seen] = strips
            entry["last"] = max(entry["at"])


def _entry(found: Album, stem: str, columns: list[str], g: int, i: int, ids: list[Any], run: Run) -> dict[str, Any]:
    """The entry of a run in the panels of its task and method; other images make other panels."""
    task, _, method = stem.partition("--")
    key = {"task": task, "method": method, "columns": columns, "ids": ids, "data": run.data.get("identity")}
    panel = next((p for p in found.restorations if {k: p[k] for k in key} == key), None)
    if panel is None:
        panel = key | {"runs": []}
        found.restorations.append(panel)
    entry = next((e for e in panel["runs"] if e["run"] == i), None)
    if entry is None:
        entry = {"g": g, "run": i, "at": {}, "last": 0}
        panel["runs"].append(entry)
    return entry


def _chosen(there: Sequence[int], times: Sequence[int]) -> list[int]:
    return sorted({*there[-1:], *(seen for seen in times if seen in there)})


def _open(path: Path, opened: _Opened, found: Album) -> tuple[Image.Image, dict[str, Any]] | None:
    """A picture and what is said of it; None if it is damaged, which is noted."""
    if path not in opened:
        opened[path] = _read(path)
    content = opened[path]
    if isinstance(content, str):
        found.damaged[str(path)] = content
        return None
    return content


def _read(path: Path) -> tuple[Image.Image, dict[str, Any]] | str:
    try:
        with Image.open(path) as image:
            image.load()
        beside = path.with_suffix(".json")
        about = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
        return image.convert("L" if image.mode in ("L", "1", "I;16") else "RGB"), about if isinstance(
            about, dict
        ) else {}
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return " ".join(str(error).split())


def _strips(image: Image.Image, columns: int, rows: int) -> Iterator[Image.Image]:
    """Cut a panel into its columns, of the first rows only."""
    width, height = (image.width + _GAP) / columns, (image.height + _GAP) / rows
    bottom = round(min(rows, _ROWS) * height) - _GAP
    for column in range(columns):
        yield image.crop((round(column * width), 0, round((column + 1) * width) - _GAP, bottom))


def _keep(image: Image.Image, raw: dict[str, Image.Image]) -> str:
    """Name a picture by what it shows."""
    name = hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()[:12]
    raw.setdefault(name, image)
    return name


def _encoded(image: Image.Image, share: int) -> dict[str, Any]:
    """As PNG if its base64 fits into its share, else as WebP, else smaller."""
    size = {"width": image.width, "height": image.height}
    smaller = image
    while True:
        for form, options in (("png", {"optimize": True}), ("webp", {"quality": 80}), ("webp", {"quality": 50})):
            buffer = io.BytesIO()
            smaller.save(buffer, format=form, **options)
            if buffer.tell() * 4 / 3 <= share or (form == "webp" and max(smaller.size) <= 64):
                text = base64.b64encode(buffer.getvalue()).decode()
                return {"uri": f"data:image/{form};base64,{text}"} | size
        smaller = smaller.resize((max(1, smaller.width // 2), max(1, smaller.height // 2)), Image.Resampling.BOX)
