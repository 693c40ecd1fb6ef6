"""Reading one shard through webdataset, and decoding its samples."""

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from webdataset.tariterators import group_by_keys, tar_file_expander

from diffusion_lit.data.arrival import open_shard
from diffusion_lit.data.images import decode_png, to_unit
from diffusion_lit.data.manifest import Manifest, Shard
from diffusion_lit.data.places import is_local, locate
from diffusion_lit.errors import UserError

__all__ = ["Sample", "collate", "read_shard"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image as it lies in a shard: id, PNG bytes, label or None, and the shard's place for error messages."""

    id: int
    png: bytes
    label: int | None
    place: str


class _DamagedError(UserError):
    """What was opened is not the shard that the manifest tells of."""


def read_shard(manifest: Manifest, shard: Shard) -> list[Sample]:
    """Read all samples of a shard, in its order and not yet decoded.

    Raises:
        UserError: the shard cannot be opened, is truncated or damaged, or holds another number of images than the
            manifest says.
    """
    place = locate(manifest.root, shard.name)
    try:
        return _read(manifest, shard, place)
    except _DamagedError:
        if manifest.cache is None or is_local(place):
            raise
        manifest.cache.drop(shard.sha256)  # it was whole when it came, and was damaged in the cache
        return _read(manifest, shard, place)


def _read(manifest: Manifest, shard: Shard, place: str) -> list[Sample]:
    mend = f"Copy the pack again, or remove {manifest.root} and pack anew."
    try:
        with open_shard(place, shard.bytes, shard.sha256, manifest.cache) as stream:
            samples = [
                Sample(int(entry["__key__"]), entry["png"], int(entry["cls"]) if "cls" in entry else None, place)
                for entry in group_by_keys(tar_file_expander([{"url": place, "stream": stream}]))
            ]
    except UserError:
        raise
    except (OSError, EOFError, ValueError, KeyError, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or next(iter(error.args), error)
        raise _DamagedError(
            f"{place}: the shard is missing, truncated or damaged ({type(error).__name__}: {reason}); {shard.count} "
            f"images in {shard.bytes} bytes expected by manifest.json. {mend}"
        ) from error
    if len(samples) != shard.count:
        raise _DamagedError(
            f"{place}: {len(samples)} images found in the shard, {shard.count} expected by manifest.json: it is "
            f"truncated or from another pack. {mend}"
        )
    return samples


def collate(samples: Sequence[Sample], shape: tuple[int, int, int], positions: Sequence[int]) -> dict[str, Tensor]:
    """Decode samples to one batch.

    Args:
        samples: B of them, all labelled or none.
        shape: (C, H, W) that every image must have.
        positions: where each stands in its stream.

    Returns:
        "image" float32 (B, C, H, W) in [-1, 1]; "label" int64 (B,), only if labelled; "id" and "position" int64 (B,).

    Raises:
        UserError: an image does not decode or has another size.
    """
    channels, height, width = shape
    pixels = np.empty(
        (len(samples), height, width) if channels == 1 else (len(samples), height, width, 3), dtype=np.uint8
    )
    for row, sample in zip(pixels, samples):
        try:
            row[:] = _exactly(decode_png(sample.png, channels), row.shape)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(
                f"{sample.place}: image {sample.id:09d} of this shard does not decode ({type(error).__name__}). "
                "Copy the pack again, or pack anew."
            ) from error
    batch = {
        "image": to_unit(pixels),
        "id": torch.tensor([sample.id for sample in samples], dtype=torch.int64),
        "position": torch.tensor(positions, dtype=torch.int64),
    }
    if samples and samples[0].label is not None:
        batch["label"] = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    return batch


def _exactly(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if image.shape != shape:  # assignment would broadcast some wrong shapes
        raise ValueError(f"shape {image.shape} found, {shape} expected")
    return image
