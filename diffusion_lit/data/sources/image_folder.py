"""A user's own folder of image files."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from diffusion_lit.data.sources.item import Array, Item, UndecodableError, rank_in_class, split_every
from diffusion_lit.errors import UserError

__all__ = ["SUFFIXES", "image_folder", "load_image"]

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


def image_folder(path: str, size: int | Sequence[int] | None = None, grey: bool = False) -> list[Item]:
    """List the image files below a folder, in the order of their relative paths.

    Folders `train`, `validation` (or `val`) and `test` at the top are the splits; without them a tenth of the images
    is validation and a tenth test. When every image lies one folder deeper, these folders are the classes.

    Args:
        path: the folder.
        size: pixels, a number or (H, W): each image is resized to cover it and cropped around its centre. None keeps
            the images as they are; they must then all be of one size.
        grey: one channel instead of three.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    root = Path(path)
    files = sorted(p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise UserError(
            f"{path}: {'no image file in this folder' if root.is_dir() else 'no such folder'} (looked for "
            f"{' '.join(sorted(SUFFIXES))}). Give the folder that holds the images as path=."
        )
    has_splits = all(len(f.parts) > 1 and f.parts[0] in _SPLIT_FOLDERS for f in files)
    inner = [f.parts[1:] if has_splits else f.parts for f in files]
    names = sorted({parts[0] for parts in inner})
    labels = [names.index(parts[0]) for parts in inner] if all(len(parts) == 2 for parts in inner) else None
    ranks = rank_in_class(np.array(labels or [0] * len(files)))
    if has_splits:
        splits = [_SPLIT_FOLDERS[file.parts[0]] for file in files]
    else:
        splits = split_every(10, len(files), None if labels is None else np.array(labels), (8,), (9,))
    # Ids interleave the classes, so that the first n ids of a split are a mixture of them.
    order = sorted(range(len(files)), key=lambda i: (ranks[i], labels[i] if labels else 0))
    box = None if size is None else (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    return [
        Item(
            id=place,
            split=splits[i],
            label=labels[i] if labels else None,
            name=str(files[i]),
            load=partial(load_image, root / files[i], box, "L" if grey else "RGB"),
        )
        for place, i in enumerate(order)
    ]


def load_image(path: Path, size: tuple[int, int] | None, mode: str) -> Array:
    """Decode one file, upright (EXIF), as uint8 of shape (H, W) or (H, W, 3).

    Raises:
        UndecodableError: it does not decode.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's notes on odd metadata: the pixels decode all the same
            with Image.open(path) as opened:
                image = ImageOps.exif_transpose(opened).convert(mode)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UndecodableError(f"{path}: the image does not decode ({error}).") from error
    if size is not None:
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(image)
