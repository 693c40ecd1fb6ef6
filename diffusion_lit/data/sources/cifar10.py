"""CIFAR-10 from the official Python tar, which is a pickle: read without executing anything in it."""

import io
import pickle
import tarfile
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from diffusion_lit.data.sources.item import Item, array_items, split_every
from diffusion_lit.errors import UserError

__all__ = ["cifar10"]

_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickle NumPy arrays and plain Python values, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array") from None


def cifar10(path: str) -> list[Item]:
    """List CIFAR-10: 32x32, RGB, 10 classes; 49,000 train, 1,000 validation, the official 10,000 test.

    Args:
        path: the file cifar-10-python.tar.gz (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

    Raises:
        UserError: the file is missing, damaged, of another kind, or its pickles hold more than arrays.
    """
    batches: dict[str, tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"]]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name.startswith(("data_batch_", "test_batch")) and (file := tar.extractfile(member)) is not None:
                    batches[name] = _batch(file.read())
    except (OSError, EOFError, tarfile.TarError, pickle.UnpicklingError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: could not be read as cifar-10-python.tar.gz ({error}). Fetch it from "
            f"https://www.cs.toronto.edu/~kriz/cifar.html and give its path as path=."
        ) from error
    training = [batches[name] for name in sorted(batches) if name.startswith("data_batch_")]
    if not training or "test_batch" not in batches:
        raise UserError(
            f"{path}: data_batch_* or test_batch is not in this tar; give the path of cifar-10-python.tar.gz."
        )
    images, labels = (np.concatenate(parts) for parts in zip(*training))
    splits = split_every(50, len(images), labels, (49,))
    test_images, test_labels = batches["test_batch"]
    return array_items(images, labels, splits, "cifar10/train") + array_items(
        test_images, test_labels, ["test"] * len(test_images), "cifar10/test", first_id=len(images)
    )


def _batch(content: bytes) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"]]:
    """Read one batch: rows of 3072 bytes, channels first, and a list of labels."""
    batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.asarray(batch[b"labels"], dtype=np.int64)
