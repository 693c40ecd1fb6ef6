"""Writing shards: samples into tars with fixed bytes, and what the manifest says about them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from webdataset.writer import TarWriter

from diffusion_lit.data.images import encode_png
from diffusion_lit.data.manifest import Manifest, Shard
from diffusion_lit.data.sources.item import Array, Item, UndecodableError
from diffusion_lit.errors import UserError

__all__ = ["Writer"]


class Writer:
    """Write shards one after the other, and gather what the manifest says about them.

    Args:
        folder: where the shards go.
        skip_undecodable: as in `pack`.
    """

    def __init__(self, folder: Path, skip_undecodable: bool):
        self.folder = folder
        self.skip_undecodable = skip_undecodable
        self.splits: dict[str, list[Shard]] = {}
        self.skipped: list[str] = []
        self.first: tuple[str, tuple[int, ...]] | None = None  # name and shape of the first image
        self.labels: set[int | None] = set()
        self.sums = np.zeros((2, 3))  # of x and x^2 a channel, over the training images in [-1, 1]
        self.pixels = 0

    def write_shard(self, split: str, number: int, items: Sequence[Item], bar: tqdm) -> None:
        """Write one tar of (id, png, cls) samples with fixed time and owner."""
        path = self.folder / f"{split}-{number:06d}.tar"
        count = 0
        with open(path, "wb") as file, TarWriter(file, encoder=False, mtime=0) as tar:
            for item in items:
                bar.update()
                image = self._load(item)
                if image is None:
                    continue
                sample = {"__key__": f"{item.id:09d}", "png": encode_png(image)}
                tar.write(sample if item.label is None else sample | {"cls": str(item.label).encode()})
                self._observe(item, image)
                count += 1
        if count == 0:
            raise UserError(
                f"{path.name}: none of its {len(items)} images decodes (such as {items[0].name}); choose fewer "
                "--shards or mend the images."
            )
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.splits.setdefault(split, []).append(Shard(path.name, count, path.stat().st_size, sha256))

    def _load(self, item: Item) -> Array | None:
        try:
            image = item.load()
        except UndecodableError as error:
            if not self.skip_undecodable:
                raise UndecodableError(f"{error} Mend or remove it, or pack with --skip-undecodable.") from error
            self.skipped.append(item.name)
            return None
        self.first = self.first or (item.name, image.shape)
        if image.shape != self.first[1]:
            raise UserError(
                f"{item.name}: {_size(image.shape)} pixels, but {self.first[0]} has {_size(self.first[1])}; all images "
                "of a pack have one size. Give size= to resize and crop them."
            )
        return image

    def _observe(self, item: Item, image: Array) -> None:
        self.labels.add(item.label)
        if item.split == "train":
            x = image.reshape(image.shape[0] * image.shape[1], -1) / 127.5 - 1.0
            self.sums[:, : x.shape[1]] += x.sum(axis=0), (x * x).sum(axis=0)
            self.pixels += len(x)

    def manifest(self, recipe: dict[str, Any], root: str) -> Manifest:
        """Say what was written."""
        assert self.first is not None
        height, width, *rest = self.first[1]
        channels = rest[0] if rest else 1
        mean, square = self.sums[:, :channels] / self.pixels
        if None in self.labels and len(self.labels) > 1:
            raise UserError(
                f"{recipe['source']}: some images have a label and some have none; give all of them one, or none."
            )
        return Manifest(
            **recipe,
            shape=(channels, height, width),
            dtype="uint8",
            moments={"mean": mean.tolist(), "std": np.sqrt(np.maximum(square - mean**2, 0)).tolist()},
            classes=None if None in self.labels else max(label for label in self.labels if label is not None) + 1,
            splits=self.splits,
            skipped=self.skipped,
            root=root,
        )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
