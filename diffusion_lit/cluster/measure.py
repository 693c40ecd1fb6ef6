"""What a plan measures on this machine, or is told."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from diffusion_lit.cluster.config import Cluster
from diffusion_lit.cluster.plan import World
from diffusion_lit.data.shards import collate, read_shard
from diffusion_lit.data.stream import Stream
from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord, lines

__all__ = ["Rate", "device_memory", "node_memory", "optimizer_states", "reading_rate", "training_rate"]

_SOME = 1024  # images that are decoded to time it


@dataclass(frozen=True)
class Rate:
    """Images a second that training takes over all processes, None if nothing tells, and what tells it."""

    images: float | None
    source: str


def training_rate(told: Mapping[str, Any], flops: int, world: World) -> Rate:
    """How fast training takes images.

    Args:
        told: "rate", images a second; or "tflops", 10^12 operations a second of a GPU at best, and "utilisation", the
            part of them that is reached; or "run", the folder of a run to go by.
        flops: of the network's forward pass for an image.
        world: of the run.

    Raises:
        UserError: the run has logged no rate.
    """
    if told["rate"]:
        return Rate(float(told["rate"]), "rate=")
    if told["tflops"]:
        one = told["tflops"] * 1e12 * told["utilisation"] / (3 * flops)  # the backward pass costs two forward ones
        return Rate(one * world.ranks, f"{told['utilisation']:.0%} of {told['tflops']:g} TFLOP/s x {world.ranks}")
    if told["run"]:
        record = RunRecord(told["run"])
        then = World.read(record.config["trainer"], 0, len(record.run["hardware"]["gpu"])).ranks
        logged = lines.read(Path(told["run"]) / "metrics.jsonl")
        rates = [line["train/images_per_second"] for line in logged if "train/images_per_second" in line]
        if not rates:
            raise UserError(f"run={told['run']}: has logged no images_per_second; give rate= or tflops=")
        return Rate(median(rates) / then * world.ranks, f"{told['run']}, on {then}")
    return Rate(None, "unknown; give rate=, tflops= or run=")


def reading_rate(stream: Stream) -> float:
    """Images a second of one reader here: all of the first shard read, some of it decoded."""
    shard = stream.manifest.shards("train")[0]
    began = time.perf_counter()
    samples = read_shard(stream.manifest, shard)
    read = time.perf_counter()
    some = samples[:_SOME]
    for i in range(0, len(some), 128):
        part = some[i : i + 128]
        collate(part, stream.manifest.shape, range(len(part)))
    return 1.0 / ((read - began) / len(samples) + (time.perf_counter() - read) / len(some))


def optimizer_states(make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]) -> float:
    """Bytes that an optimiser keeps for each byte of weights, found by a step of it: 2 for Adam.

    Args:
        make: parameters -> optimiser.
    """
    weight = nn.Parameter(torch.zeros(32, 32))
    weight.grad = torch.zeros_like(weight)
    optimizer = make([weight])
    optimizer.step()
    kept = [value for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor) and value.dim()]
    return sum(value.nbytes for value in kept) / weight.nbytes


def device_memory(told_gib: float, world: World) -> tuple[int | None, str]:
    """Bytes that a training process may use, None if unknown, and of what.

    Args:
        told_gib: of a GPU, in GiB; 0 if it is not told.
        world: of the run.
    """
    if told_gib:
        return int(told_gib * 2**30), "the GPU (gpu_memory=)"
    if world.gpu and torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, torch.cuda.get_device_name(0)
    if not world.gpu and world.nodes == 1:
        return _machine_memory() // world.tasks, "this machine for each process"
    return None, "unknown"


def node_memory(cluster: Cluster | None) -> int | None:
    """Bytes of a node's memory: as asked of the cluster, None if left to it; of this machine without a cluster."""
    if cluster is None:
        return _machine_memory()
    text = str(cluster.memory or 0)
    number, unit = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "M")
    return int(number) * 1024 ** (1 + "KMGT".index(unit)) or None


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
