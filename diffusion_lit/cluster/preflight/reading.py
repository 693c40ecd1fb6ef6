"""The data: where the shards are, whether they are whole, and who reads which of them."""

from collections.abc import Mapping
from dataclasses import replace
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import torch

from diffusion_lit.cluster.memory import GIB
from diffusion_lit.cluster.plan import World, coverage, find_readers, look_at_readers
from diffusion_lit.cluster.preflight.result import Result, fine, stops, warns
from diffusion_lit.data import Manifest, StreamLoader
from diffusion_lit.data.places import is_local

__all__ = ["lanes", "packed", "start_method", "whole"]


def packed(data: Mapping[str, Any], world: World) -> Result | None:
    """Tell where the first training would pack the data itself; None if they are there.

    Args:
        data: the group of the configuration.
        world: of the run.
    """
    root = str(data["root"])
    if not (data.get("pack") and is_local(root)) or Path(root, "manifest.json").exists():
        return None
    pack = f"diffusion-lit pack {data['pack']['source']} {root}"
    if world.ranks > 1:
        return stops(f"{root}: is not packed, and {world.ranks} processes would all pack it", pack)
    return warns(f"{root}: is not packed; the first training packs it", pack)


def whole(manifest: Manifest, most: int = 8 * GIB) -> Result:
    """Compare shards with their SHA-256: all of them, or if that is much to read some, evenly spread.

    Args:
        manifest: of the pack.
        most: bytes to read, about.

    Raises:
        UserError: one of them differs, or cannot be read.
    """
    shards = [shard for split in manifest.splits for shard in manifest.shards(split)]
    count = min(len(shards), max(1, len(shards) * most // max(1, sum(shard.bytes for shard in shards))))
    chosen = [shards[i * len(shards) // count] for i in range(count)]
    replace(manifest, splits={"chosen": chosen}).verify()
    splits = ", ".join(f"{manifest.count(split):,} {split}" for split in manifest.splits)
    which = "every shard matches its" if count == len(shards) else f"{count:,} of {len(shards):,} shards match their"
    return fine(f"{manifest.root}: {splits}; {which} sha256")


def lanes(manifest: Manifest, settings: Mapping[str, Any], world: World) -> Result:
    """Share the shards out as the run would.

    Args:
        manifest: of the pack.
        settings: the plain configuration.
        world: of the run.

    Raises:
        UserError: lanes, batch size, shards, processes and workers do not divide.
    """
    stream = _loader(manifest, settings, world, 0, world.workers).stream
    readers, shards = find_readers(stream, world.ranks, world.workers), len(manifest.shards("train"))
    share = stream.batch_size // stream.lanes
    if share % world.parts:
        return stops(
            f"accumulate_grad_batches={world.parts} does not divide {share} = batch_size / lanes",
            f"trainer.accumulate_grad_batches={next(n for n in range(world.parts, 0, -1) if share % n == 0)}",
        )
    found = coverage(readers, shards)
    for finding in look_at_readers(readers, stream):
        return stops(finding.text, "see diffusion-lit plan") if finding.fatal else warns(finding.text)
    told = f"{found.twice or 'none'} read twice in a pass, {found.missed or 'none'} missed"
    return fine(f"{shards} shards, {stream.lanes} lanes, {world}: {told}")


def start_method(manifest: Manifest, settings: Mapping[str, Any], world: World) -> Result:
    """Start the reading processes of the last rank and compare their first batch with the one read here.

    Args:
        manifest, settings, world: as for `lanes`.
    """
    told = settings["data"].get("start_method")
    method = told or get_all_start_methods()[0]
    whose = f"{method} ({'data.start_method' if told else 'the default of this Python'})"
    if not world.workers:
        return fine(f"{whose}, not used: data.num_workers=0")
    rank = world.ranks - 1
    by_workers = iter(_loader(manifest, settings, world, rank, world.workers))
    here = iter(_loader(manifest, settings, world, rank, 0))
    try:
        equal = torch.equal(next(by_workers)["id"], next(here)["id"])
    finally:
        by_workers.close()  # type: ignore[attr-defined]
    if not equal:
        return stops(f"{whose}: rank {rank} reads other images than it should", "data.num_workers=0, and report this")
    return fine(f"{whose}: {world.workers} processes of rank {rank} read the images that it should")


def _loader(manifest: Manifest, settings: Mapping[str, Any], world: World, rank: int, workers: int) -> StreamLoader:
    module = settings["data"]["datamodule"]
    return StreamLoader(
        manifest,
        module["batch_size"],
        seed=module["seed"],
        lanes=module["lanes"],
        block=module["block"],
        rank=rank,
        world_size=world.ranks,
        num_workers=workers,
        start_method=module.get("start_method"),
    )
