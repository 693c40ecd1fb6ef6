"""Packing: the images of a source become shuffled WebDataset tars and a manifest, all or nothing."""

import inspect
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from diffusion_lit.data.manifest import NAME, Manifest
from diffusion_lit.data.sources import Item, sources
from diffusion_lit.data.sources.item import SPLITS
from diffusion_lit.data.writer import Writer
from diffusion_lit.errors import UserError

__all__ = ["pack"]


def pack(
    source: str,
    out: str | Path,
    shards: int = 8,
    seed: int = 0,
    skip_undecodable: bool = False,
    progress: bool = True,
    **arguments: Any,
) -> Manifest:
    """Write the images of a source as WebDataset shards with a manifest; a finished pack of the same call is reused.

    Training images are shuffled once, so that each shard is a mixture; held-out splits stay in the order of their ids,
    in shards of about the same size. The bytes depend on the arguments and the images only.

    Args:
        source: a name in `sources`.
        out: folder to make.
        shards: number of training shards, at least the number of lanes that will read them.
        seed: of the shuffle, not negative.
        skip_undecodable: leave out images that do not decode (they are named and counted) instead of stopping.
        progress: show a progress bar and say what was done.
        **arguments: of the source, such as path= or size=.

    Raises:
        UserError: unknown source or argument, images of differing sizes, an image that does not decode, fewer images
            than shards, another pack in `out`, a full disk. Nothing half-written is left then, nor after Ctrl-C.
    """
    arguments = json.loads(json.dumps(arguments, default=_plain))
    recipe = {
        "source": source,
        "seed": seed,
        "arguments": arguments | {"shards": shards, "skip_undecodable": skip_undecodable},
    }
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _reuse(folder, recipe, progress)
    items = _list(source, arguments)
    with _aside(folder) as aside:
        writer = Writer(aside, skip_undecodable)
        with tqdm(total=len(items), desc=f"packing {source}", unit="img", mininterval=0.5, disable=not progress) as bar:
            for split, names in _deal(items, shards, seed).items():
                for number, members in enumerate(names):
                    writer.write_shard(split, number, members, bar)
        manifest = writer.manifest(recipe, str(folder))
        manifest.write(aside)
        try:
            os.rename(aside, folder)
        except OSError:
            if not (folder / NAME).exists():
                raise
            return _reuse(folder, recipe, progress)  # another process was faster
    if progress:
        counts = ", ".join(f"{manifest.count(split)} {split}" for split in manifest.splits)
        skipped = f"; {len(manifest.skipped)} skipped: {', '.join(manifest.skipped)}" if manifest.skipped else ""
        print(f"packed {source} into {folder}: {counts}{skipped}")
    return manifest


def _plain(value: Any) -> Any:
    """Turn paths and Hydra's lists into what JSON knows."""
    return os.fspath(value) if isinstance(value, os.PathLike) else list(value)


def _list(source: str, arguments: dict[str, Any]) -> Sequence[Item]:
    if source not in sources:
        raise UserError(f"source: {source!r} is unknown; choose one of {', '.join(sources)}.")
    signature = inspect.signature(sources[source])
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(
            f"{source}: {error}; it takes {signature.replace(return_annotation=signature.empty)}."
        ) from None
    return sources[source](**arguments)


def _deal(items: Sequence[Item], shards: int, seed: int) -> dict[str, list[list[Item]]]:
    """Deal the items to shards: split -> shards -> items."""
    dealt: dict[str, list[list[Item]]] = {}
    train = [item for item in items if item.split == "train"]
    if not 1 <= shards <= len(train):
        raise UserError(
            f"shards: {shards} asked for, but there are {len(train)} training images; choose --shards between 1 and "
            "that."
        )
    for split in SPLITS:
        members = sorted((item for item in items if item.split == split), key=lambda item: item.id)
        number = shards
        if split == "train":
            members = [members[i] for i in np.random.default_rng(seed).permutation(len(members))]
        else:
            number = ceil(len(members) / ceil(len(train) / shards))
        if members:
            edges = [len(members) * i // number for i in range(number + 1)]
            dealt[split] = [members[a:b] for a, b in pairwise(edges)]
    return dealt


def _reuse(folder: Path, recipe: dict[str, Any], progress: bool) -> Manifest:
    """Give the pack that stands in `folder` if it is the one asked for."""
    if not (folder / NAME).exists():
        raise UserError(
            f"{folder}: already there and not a pack (no {NAME}). Nothing was touched; choose another folder."
        )
    manifest = Manifest.read(folder)
    found = {"source": manifest.source, "seed": manifest.seed, "arguments": manifest.arguments}
    if found != recipe:
        raise UserError(
            f"{folder}: another pack is already there: {json.dumps(found)} found, {json.dumps(recipe)} asked for. "
            "Nothing was touched; choose another folder or remove this one."
        )
    if progress:
        print(f"{folder}: already packed, reused ({', '.join(f'{manifest.count(s)} {s}' for s in manifest.splits)})")
    return manifest


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that is removed at the end, whatever happens, unless it was renamed."""
    aside = folder.absolute().with_name(f".{folder.absolute().name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        yield aside
    except OSError as error:
        raise UserError(
            f"{folder}: could not be written ({error.strerror or error}). Nothing was left there; free some space or "
            "choose a folder that you may write to, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
