"""What lies in a user's folder: image files, and arrays of measurements."""

import hashlib
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.data.images import to_unit
from diffusion_lit.data.sources.image_folder import SUFFIXES, load_image
from diffusion_lit.errors import UserError

__all__ = ["Input", "Shape", "list_inputs", "load_clean", "load_measured"]

Shape = tuple[int, ...]
_ARRAYS = {".npy", ".npz"}
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Input:
    """One file.

    Args:
        name: its path below the folder.
        path: where it is.

    Attributes:
        stem: the name without its ending, which names what is written of it.
        id: with a seed it names the noise and the samples of this image; a hash of the stem, so that it does not change
            when other images come or go.
        digest: of its content.
    """

    name: str
    path: Path

    @property
    def stem(self) -> str:
        return str(Path(self.name).with_suffix(""))

    @property
    def id(self) -> int:
        return int.from_bytes(hashlib.sha256(self.stem.encode()).digest()[:7])

    @cached_property
    def digest(self) -> str:
        return digest(self.path)

    @property
    def is_array(self) -> bool:
        return self.path.suffix.lower() in _ARRAYS


def digest(path: Path) -> str:
    """The SHA-256 of a file's content; raises UserError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def list_inputs(folder: str | Path, arrays: bool = False, without: Path | None = None) -> list[Input]:
    """List the image files below a folder in the order of their names.

    Args:
        folder: where they are; hidden files are left out.
        arrays: list .npy and .npz files too.
        without: a folder whose files are left out, such as that of the results.

    Raises:
        UserError: there is no such folder or nothing in it, or two names differ in their ending only.
    """
    root = Path(folder)
    endings = SUFFIXES | (_ARRAYS if arrays else set())
    found = [
        Input(str(path.relative_to(root)), path)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in endings
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and not (without is not None and path.resolve().is_relative_to(without.resolve()))
    ]
    if not found:
        raise UserError(
            f"{folder}: {'no such file in this folder' if root.is_dir() else 'no such folder'} (looked for "
            f"{' '.join(sorted(endings))}); give the folder that holds them"
        )
    twice = [stem for stem, count in Counter(entry.stem for entry in found).items() if count > 1]
    if twice:
        names = [entry.name for entry in found if entry.stem == twice[0]]
        raise UserError(f"{folder}: {' and '.join(names)} would be restored under one name; rename one of them")
    return found


def load_clean(entry: Input, channels: int, size: tuple[int, int] | None) -> Float[Tensor, "c h w"]:
    """Read an image as (C, H, W) in [-1, 1].

    Args:
        entry: an image file.
        channels: 1 (grey) or 3.
        size: (H, W) to resize it to, so that it is covered, and crop it around its centre; None leaves it as it is.

    Raises:
        UserError: the file is damaged.
    """
    return _load(entry.path, _mode(channels), size)


def load_measured(entry: Input, y_shape: Shape, channels: int) -> Float[Tensor, "..."] | None:
    """Read a measurement as a tensor (*y_shape), or None if it is of another size.

    Images and arrays of uint8, (H, W) or (H, W, C), are pixels: 0..255 becomes [-1, 1]. Other arrays are taken as they
    are, of that shape, flat, without axes of length 1, or channels last.

    Args:
        entry: an image or array file.
        y_shape: what the operator measures.
        channels: of the prior; pixels of a y that is no image are read so.

    Raises:
        UserError: the file is damaged, or an array is not of numbers.
    """
    image = len(y_shape) == 3 and y_shape[0] in _MODES
    if not entry.is_array:
        y = _load(entry.path, _mode(y_shape[0] if image else channels))
        return y if tuple(y.shape) == y_shape else y.reshape(y_shape) if _flat(y.shape, y_shape) else None
    array = _load_array(entry.path)
    if array.dtype == np.uint8 and array.ndim in (2, 3):
        array = to_unit(array[None])[0].numpy()
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if tuple(values.shape) == y_shape:
        return values
    if image and tuple(values.shape) == (*y_shape[1:], y_shape[0]):
        return values.permute(2, 0, 1).contiguous()
    return values.reshape(y_shape) if _flat(values.shape, y_shape) else None


def own_shape(entry: Input) -> tuple[int, int] | None:
    """(H, W) of a measurement that is an image, as far as its file tells."""
    if not entry.is_array:
        height, width = load_image(entry.path, None, "L").shape[:2]
        return height, width
    shape = [side for side in _load_array(entry.path).shape if side != 1]
    if len(shape) == 3:
        return (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2])
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _load(path: Path, mode: str, size: tuple[int, int] | None = None) -> Tensor:
    return to_unit(np.array(load_image(path, size, mode))[None])[0]  # a copy: Pillow's own cannot be written


def _mode(channels: int) -> str:
    if channels not in _MODES:
        raise UserError(
            f"channels: the prior is for images of {channels} channels, and image files are read with 1 or 3; give "
            f"measurements as .npy files"
        )
    return _MODES[channels]


def _flat(shape: Shape, y_shape: Shape) -> bool:
    """Whether the same numbers stand in both in the same order: one is flat, or they differ in axes of length 1."""
    same = [side for side in shape if side != 1] == [side for side in y_shape if side != 1]
    flat = min(len(shape), len(y_shape)) == 1 and np.prod(shape) == np.prod(y_shape)
    return same or bool(flat)


def _load_array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            array = loaded
        else:
            with loaded:
                if len(loaded.files) != 1 and "y" not in loaded.files:
                    raise UserError(
                        f"{path}: holds {', '.join(loaded.files)}; name the measurement y, or save it alone"
                    )
                array = loaded["y" if "y" in loaded.files else loaded.files[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: could not be read as an array ({error})") from error
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"{path}: holds {array.dtype}; expected real numbers (complex ones as real and imaginary parts)"
        )
    return array
