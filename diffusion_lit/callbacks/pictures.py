"""Panels of images as PNG files in the run folder, with what is to be said of them beside."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from diffusion_lit.files import write_text, writing

__all__ = ["Picture", "panel", "to_bytes", "write_png"]

GAP = 2  # pixels between two images


def to_bytes(images: Float[Tensor, "*batch c h w"]) -> UInt8[Tensor, "*batch c h w"]:
    """Clamp [-1, 1] to bytes."""
    return images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def panel(images: Float[Tensor, "rows columns c h w"]) -> UInt8[Tensor, "height width channels"]:
    """Lay images in [-1, 1] out in rows and columns, white between them."""
    rows, columns, channels, height, width = images.shape
    sheet = torch.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=torch.uint8)
    pixels = to_bytes(images).permute(0, 1, 3, 4, 2).cpu()
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + GAP), column * (width + GAP)
            sheet[top : top + height, left : left + width] = pixels[row, column]
    return sheet


def write_png(path: str | Path, pixels: UInt8[Tensor, "height width channels"]) -> None:
    """Write (H, W, 1 or 3) bytes as a PNG, whole or not at all."""
    array = pixels.numpy()
    with writing(path) as aside:
        Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(aside, format="png")


@dataclass(frozen=True)
class Picture:
    """A panel for the run folder.

    Args:
        name: path under the folder without ending; {images_seen} stands for the images seen.
        images: (rows, columns, C, H, W) in [-1, 1].
        about: numbers and words, written beside it as JSON.
    """

    name: str
    images: Tensor
    about: dict[str, Any]

    def write(self, folder: Path, images_seen: int) -> None:
        """Write the PNG and its JSON under `folder`."""
        stem = str(folder / self.name.format(images_seen=f"{images_seen:09d}"))
        write_png(f"{stem}.png", panel(self.images))
        told = {"images_seen": images_seen, "cell": list(self.images.shape[-2:])}  # height and width of an image
        write_text(f"{stem}.json", json.dumps(self.about | told, indent=2) + "\n")
