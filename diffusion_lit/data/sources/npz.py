"""A user's own array of images in one .npz file."""

import zipfile

import numpy as np

from diffusion_lit.data.sources.item import Item, array_items, split_every
from diffusion_lit.errors import UserError

__all__ = ["npz"]


def npz(path: str) -> list[Item]:
    """List the images of an .npz file; a tenth is validation and a tenth test, stratified by class.

    Args:
        path: file with `images`, uint8, (n, H, W), (n, H, W, 1) or (n, H, W, 3), and optionally `labels`, (n,)
            integers.

    Raises:
        UserError: the file is missing, is no .npz file, holds pickled objects, or its arrays are of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
            labels = arrays.get("labels")
    except KeyError:
        raise UserError(
            f"{path}: no array named `images`. Save it with np.savez(path, images=..., labels=...)."
        ) from None
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: could not be read as an .npz file of plain arrays ({error}).") from error
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)) or len(images) == 0:
        raise UserError(
            f"{path}: `images` is {images.dtype} of shape {images.shape}; expected uint8 of shape (n, H, W), (n, H, W, "
            "1) or (n, H, W, 3) with n > 0. Convert it before saving: channels last, values 0..255."
        )
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0):
        raise UserError(
            f"{path}: `labels` is {labels.dtype} of shape {labels.shape}; expected {len(images)} integers, none "
            "negative."
        )
    return array_items(images, labels, split_every(10, len(images), labels, (8,), (9,)), path)
