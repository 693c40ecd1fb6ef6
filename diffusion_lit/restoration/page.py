"""One self-contained HTML page of a folder of restored images."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

import diffusion_lit.tracking
from diffusion_lit.files import write_text
from diffusion_lit.restoration.folder import Folder
from diffusion_lit.restoration.inputs import Input
from diffusion_lit.restoration.tables import TITLES, columns, means, text
from diffusion_lit.tracking.pictures import spread
from diffusion_lit.tracking.words import show

__all__ = ["write_page"]

_KINDS = {
    "truth": "truth",
    "measured": "measured",
    "sample": "one sample",
    "mean": "mean of the samples",
    "deviation": "standard deviation",
}
_SHOWN = 60  # images in the page
_SIDE = 320  # pixels of a picture in it


def write_page(folder: Folder, inputs: Sequence[Input], title: str, facts: Mapping[str, str]) -> Path:
    """Write index.html and return its path.

    It holds its pictures, those larger than 320 pixels smaller and as JPEG, with links to the files beside it.

    Args:
        folder: of the results.
        inputs: the images, in their order.
        title: of the page.
        facts: what was done, in words, by name.
    """
    rows = folder.rows(inputs)
    done = [row for row in rows if "error" not in row]
    by_name = {entry.name: entry for entry in inputs}
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, Path(diffusion_lit.tracking.__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["show"] = show
    names = columns(done)
    html = environment.get_template("page.html.jinja").render(
        title=title,
        facts=facts,
        total=len(inputs),
        done=done,
        failed=[row for row in rows if "error" in row],
        names=names,
        titles=TITLES,
        means=means(done),
        text=text,
        cards=[(row, _pictures(folder, by_name[row["image"]])) for row in spread(done, _SHOWN)],
    )
    out = folder.path / "index.html"
    write_text(out, html)
    return out


def _pictures(folder: Folder, entry: Input) -> list[dict[str, Any]]:
    files = {kind: folder.place(kind, entry, ".png") for kind in _KINDS}
    return [
        {"kind": kind, "words": words, "link": quote(f"{kind}/{entry.stem}.png"), **_thumbnail(files[kind])}
        for kind, words in _KINDS.items()
        if files[kind].is_file()
    ]


def _thumbnail(path: Path) -> dict[str, Any]:
    """The picture as a data URI, and whether its pixels are to be seen as squares."""
    with Image.open(path) as image:
        small = max(image.size) <= _SIDE
        if small:
            kind, data = "png", path.read_bytes()
        else:
            image.thumbnail((_SIDE, _SIDE))
            buffer = io.BytesIO()
            image.save(buffer, format="jpeg", quality=88)
            kind, data = "jpeg", buffer.getvalue()
        uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        return {"uri": uri, "width": image.width, "height": image.height, "pixels": max(image.size) < _SIDE // 2}
