"""MNIST's idx files, gzipped or not, anywhere; and Fashion-MNIST from its Debian package."""

import gzip
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from diffusion_lit.data.sources.item import Item, array_items, split_every
from diffusion_lit.errors import UserError

__all__ = ["fashion_mnist", "idx", "read_idx"]

FASHION_MNIST = "/usr/share/datasets/fashion-mnist"


def read_idx(path: str | Path) -> UInt8[np.ndarray, "*shape"]:
    """Read one idx file of bytes: magic 0, 0, 8, ndim; ndim big-endian uint32 sizes; the bytes.

    Raises:
        UserError: the file is missing, is no idx file of bytes, or is truncated.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        data = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise UserError(
            f"{path}: could not be read as an idx file ({error}). Check the path or fetch it again."
        ) from error
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise UserError(
            f"{path}: starts with {data[:4].hex() or 'nothing'}, but an idx file of unsigned bytes starts with 000008. "
            f"Give the path of an idx file (such as train-images-idx3-ubyte.gz)."
        )
    header = 4 + 4 * data[3]
    shape = tuple(int(n) for n in np.frombuffer(data[4:header], dtype=">u4"))
    expected = header + int(np.prod(shape))
    if len(shape) != data[3] or len(data) != expected:
        raise UserError(f"{path}: {len(data)} bytes found, {expected} expected by its header. Fetch the file again.")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def idx(
    images: str,
    labels: str | None = None,
    test_images: str | None = None,
    test_labels: str | None = None,
    validation_every: int = 60,
) -> list[Item]:
    """List the images of idx files.

    Args:
        images: path of the training images, (n, H, W) or (n, H, W, 3) bytes.
        labels: path of their labels, (n,) bytes.
        test_images: path of the official test set; without it a tenth of the images is validation and a tenth test.
        test_labels: path of its labels.
        validation_every: beside an official test set one training image in so many becomes validation. Both rules
            are stratified by class.

    Raises:
        UserError: a file is missing or damaged, or images and labels differ in number.
    """
    x, y = _pair(images, labels)
    counts = None if y is None else y.astype(np.int64)
    if test_images:
        splits = split_every(validation_every, len(x), counts, (validation_every - 1,))
    else:
        splits = split_every(10, len(x), counts, (8,), (9,))
    items = array_items(x, y, splits, Path(images).name)
    if test_images:
        x_test, y_test = _pair(test_images, test_labels)
        items += array_items(x_test, y_test, ["test"] * len(x_test), Path(test_images).name, first_id=len(x))
    return items


def fashion_mnist(path: str = FASHION_MNIST) -> list[Item]:
    """List Fashion-MNIST: 28x28, grey, 10 classes; 59,000 train, 1,000 validation, the official 10,000 test.

    Args:
        path: folder with the four *-ubyte.gz files.

    Raises:
        UserError: the files are not there.
    """
    if not (Path(path) / "train-images-idx3-ubyte.gz").exists():
        raise UserError(
            f"{path}: train-images-idx3-ubyte.gz is not there. On Debian or Ubuntu install the package with "
            f"`apt-get install dataset-fashion-mnist`; elsewhere give the folder of the four *-ubyte.gz files as path=."
        )
    return idx(
        images=f"{path}/train-images-idx3-ubyte.gz",
        labels=f"{path}/train-labels-idx1-ubyte.gz",
        test_images=f"{path}/t10k-images-idx3-ubyte.gz",
        test_labels=f"{path}/t10k-labels-idx1-ubyte.gz",
    )


def _pair(
    images: str, labels: str | None
) -> tuple[UInt8[np.ndarray, "n height width *channels"], UInt8[np.ndarray, " n"] | None]:
    x, y = read_idx(images), None if labels is None else read_idx(labels)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] != 3) or len(x) == 0:
        raise UserError(f"{images}: shape {x.shape} found, (n, H, W) or (n, H, W, 3) with n > 0 expected of images.")
    if y is not None and y.shape != x.shape[:1]:
        raise UserError(
            f"{labels}: {y.shape} labels for {len(x)} images of {images}. Give the two files that belong together."
        )
    return x, y
