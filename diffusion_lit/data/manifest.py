"""manifest.json: what a folder of shards holds, checked before anything is read from it."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diffusion_lit.data.arrival import digest, open_shard, read_bytes
from diffusion_lit.data.cache import Cache
from diffusion_lit.data.places import is_local, locate
from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text

__all__ = ["FORMAT", "NAME", "Manifest", "Shard"]

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One tar file: its name in the folder, how many images and bytes it has, and its SHA-256 in hexadecimal."""

    name: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a pack holds.

    Args:
        source: name of the source, `arguments` of it and of the packing, `seed` of the shuffle.
        shape: (C, H, W).
        dtype: of the pixels, "uint8".
        moments: {"mean": [...], "std": [...]}, one number a channel, of the training split in [-1, 1] units.
        classes: number of classes, or None without labels.
        splits: split -> its shards, in order; only splits that have images.
        skipped: names of the images that did not decode.
        root: the folder, or a URL (http:, https:, file:, pipe:, ...); it is not written.
        cache: where shards that come by a URL are kept; it is not written either.
    """

    source: str
    arguments: dict[str, Any]
    seed: int
    shape: tuple[int, int, int]
    dtype: str
    moments: dict[str, list[float]]
    classes: int | None
    splits: dict[str, list[Shard]]
    skipped: list[str] = field(default_factory=list)
    root: str = field(default="", compare=False)
    cache: Cache | None = field(default=None, compare=False, repr=False)

    @cached_property
    def identity(self) -> str:
        """Short hash of the content: two packs with one identity hold the same bytes, wherever they lie."""
        content = [self.shape, self.dtype, self.classes, {k: [vars(s) for s in v] for k, v in self.splits.items()}]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def shards(self, split: str) -> list[Shard]:
        """Give the shards of a split; raises UserError if the pack has no such split."""
        if split not in self.splits:
            raise UserError(
                f"{self.root}: no split {split!r} in this pack; it has {', '.join(self.splits)}. Pack a source with "
                "more images, or one that has this split."
            )
        return self.splits[split]

    def count(self, split: str) -> int:
        """Count the images of a split; 0 if the pack has none."""
        return sum(shard.count for shard in self.splits.get(split, []))

    @property
    def content(self) -> dict[str, Any]:
        """The manifest as plain containers, with its identity, and with its root but not its cache."""
        content = {"identity": self.identity, **asdict(replace(self, cache=None))}
        del content["cache"]
        return content

    @property
    def summary(self) -> dict[str, Any]:
        """The content with numbers in place of the lists of shards and of skipped images."""
        splits = {
            split: {"shards": len(shards), "images": self.count(split), "bytes": sum(shard.bytes for shard in shards)}
            for split, shards in self.splits.items()
        }
        return self.content | {"splits": splits, "skipped": len(self.skipped)}

    def write(self, folder: str | Path) -> None:
        """Write manifest.json into `folder`, whole or not at all."""
        content = {"format": FORMAT, **self.content}
        del content["root"]
        write_text(Path(folder) / NAME, json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, root: str | Path, cache: Cache | None = None) -> "Manifest":
        """Read manifest.json of a folder or URL, and check that a folder has every shard with its size in bytes.

        Shards behind a URL are checked when they are fetched.

        Raises:
            UserError: the manifest is missing, damaged or of another format; a local shard is missing, empty or
                truncated.
        """
        place = locate(root, NAME)
        try:
            content = json.loads(read_bytes(place))
            found = content.pop("format")
            if found != FORMAT:
                raise UserError(
                    f"{place}: format {found} found, {FORMAT} expected; pack the images again with this version."
                )
            written = content.pop("identity")
            content["shape"] = tuple(content["shape"])
            content["splits"] = {k: [Shard(**shard) for shard in v] for k, v in content["splits"].items()}
            manifest = cls(**content, root=str(root), cache=cache)
        except FileNotFoundError:
            raise UserError(
                f"{place}: not there, so {root} holds no pack. Make one with `diffusion-lit pack SOURCE {root}`, or "
                "set data.root to a folder that has one."
            ) from None
        except UserError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            what = "could not be read" if isinstance(error, OSError) else "damaged manifest"
            raise UserError(f"{place}: {what} ({error!r}). {_mend(root)}") from error
        if written != manifest.identity:
            raise UserError(
                f"{place}: identity {written} found, {manifest.identity} expected of the shards it lists: it was "
                f"edited or mixed from two packs. {_mend(root)}"
            )
        manifest._check_sizes()
        return manifest

    def _check_sizes(self) -> None:
        if not self.splits.get("train"):
            raise UserError(f"{self.root}/{NAME}: lists no training shard. {_mend(self.root)}")
        sizes = _sizes(self.root) if is_local(self.root) else None
        for shard in [shard for shards in self.splits.values() for shard in shards]:
            if shard.count <= 0:
                raise UserError(
                    f"{locate(self.root, shard.name)}: {shard.count} images in its manifest, at least 1 expected. "
                    f"{_mend(self.root)}"
                )
            size = shard.bytes if sizes is None else sizes.get(shard.name)
            if size == shard.bytes:
                continue
            place = locate(self.root, shard.name)
            if size is None:
                raise UserError(
                    f"{place}: missing shard, but {NAME} lists it with {shard.count} images. {_mend(self.root)}"
                )
            what = "empty" if size == 0 else "truncated" if size < shard.bytes else "not the one of the manifest"
            raise UserError(
                f"{place}: the shard is {what}: {size} bytes found, {shard.bytes} expected by {NAME}. "
                f"{_mend(self.root)}"
            )

    def verify(self) -> None:
        """Read every shard in full and compare its SHA-256; raises UserError naming the first that differs.

        What comes by a URL is read from there, not from the cache.
        """
        for shard in [shard for shards in self.splits.values() for shard in shards]:
            place = locate(self.root, shard.name)
            try:
                with open_shard(place, shard.bytes, shard.sha256, cache=None) as stream:
                    found = digest(stream)
            except OSError as error:
                raise UserError(f"{place}: could not be read ({error}). {_mend(self.root)}") from error
            if found != shard.sha256:
                raise UserError(
                    f"{place}: the shard does not match {NAME}: SHA-256 {found[:12]}... found, "
                    f"{shard.sha256[:12]}... expected. {_mend(self.root)}"
                )


def _sizes(folder: str) -> dict[str, int]:
    """Bytes of each file of a folder, in the folder's own order: a network's file system sends them with the names."""
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}


def _mend(root: str | Path) -> str:
    return f"Copy the pack again, or remove {root} and pack anew (diffusion-lit pack SOURCE {root})."
