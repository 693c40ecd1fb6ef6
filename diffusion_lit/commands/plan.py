"""diffusion-lit plan [overrides of train] [cluster=NAME] [cluster.key=value] [rate=N | run=RUN | tflops=N]

Say before GPU time is spent what a run will need: what each process and worker reads, whether shards are read fast
enough, memory with and without sharding, disk. Reads the manifest, and one shard to time it. Exits with 2 if the run
cannot work; every finding says how to mend it.

    diffusion-lit plan experiment=mnist
    diffusion-lit plan experiment=mnist cluster.nodes=2 cluster.gpus=2 data.num_workers=2 gpu_memory=80
    diffusion-lit plan experiment=mnist trainer=ddp trainer.devices=4 rate=12000

How fast training takes images is told by one of
    rate=N      images a second, over all processes
    run=RUN     a run that was trained before: its median, for as many processes as there are now
    tflops=N    peak of one GPU at the run's precision, of which utilisation=0.4 is reached
and the memory of a GPU, if there is none here, by gpu_memory=GIB.
"""

import os
import shutil
from contextlib import nullcontext
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_lit.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from diffusion_lit.cluster import Cluster
    from diffusion_lit.cluster.measure import Rate
    from diffusion_lit.cluster.plan import Finding, Reader, World
    from diffusion_lit.data.stream import Stream
    from diffusion_lit.modules import DiffusionModule
    from diffusion_lit.networks.summary import Summary

__all__ = ["run"]

OWN: dict[str, str | int | float] = {"rate": 0.0, "run": "", "tflops": 0.0, "utilisation": 0.4, "gpu_memory": 0.0}
_READERS = 12  # that have a line of their own


def run(words: list[str]) -> int:
    import torch

    from diffusion_lit.cluster import Cluster
    from diffusion_lit.cluster.measure import training_rate
    from diffusion_lit.cluster.plan import World
    from diffusion_lit.commands.build import build_module, quiet
    from diffusion_lit.configuration import compose_config, plain, run_config, split_arguments

    quiet()
    mine = [word for word in words if word.partition("=")[0] in OWN]
    own, _ = split_arguments(mine, OWN)
    resources = [word for word in words if word.lstrip("+~").partition("=")[0].split(".")[0] == "cluster"]
    rest = [word for word in words if word not in mine and word not in resources]
    cluster = Cluster.read(plain(compose_config("submit", resources))["cluster"]) if resources else None
    config = run_config([*rest, *(cluster.trainer(rest) if cluster else [])])
    settings = plain(config)
    world = World.read(settings["trainer"], settings["data"]["num_workers"], torch.cuda.device_count())
    findings: list[Finding] = []

    batches = -(-config.max_images // config.batch_size)
    _say("run", f"{config.paths.run}: {config.max_images:,} images, {batches:,} batches of {config.batch_size:,}")
    _say("world", str(world))
    module = build_module(config)
    summary = _summary(module, settings)
    _say("network", str(summary).partition(",")[0] + f", {summary.flops / 1e9:.3f} GFLOP forward an image")
    rate = training_rate(own, summary.flops, world)
    stream = None if config.data.root is None else _stream(config, world, findings)
    if stream is not None:
        _reading(stream, world, rate, config.max_images, cluster, findings)
    averages, checkpoint = _memory(config, module, summary, world, own, findings)
    _disk(config, averages, checkpoint, summary.parameter_bytes, findings)
    for finding in sorted(findings, key=lambda finding: not finding.fatal):
        print(f"{'!!' if finding.fatal else '! '} {finding.text}")
    print("cannot work" if (fatal := any(finding.fatal for finding in findings)) else "can work")
    return 2 if fatal else 0


def _say(title: str, *lines: str) -> None:
    for number, line in enumerate(lines):
        print(f"{'' if number else title:<10}{line}".rstrip())


def _summary(module: "DiffusionModule", settings: dict[str, Any]) -> "Summary":
    """Cost of the network, its activations in the precision of the run."""
    import torch

    from diffusion_lit.networks.summary import summarize

    precision = str(settings["trainer"].get("precision", "32"))
    mixed = precision.startswith("bf16") or precision.startswith("16")
    with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
        return summarize(module.denoiser.network, settings["data"]["shape"])  # type: ignore[union-attr]


def _stream(config: "DictConfig", world: "World", findings: "list[Finding]") -> "Stream | None":
    """The training stream, if its numbers fit each other."""
    from diffusion_lit.cluster.plan import Finding
    from diffusion_lit.commands.build import build
    from diffusion_lit.data import StreamLoader
    from diffusion_lit.data.places import is_local

    data = build(config.data.datamodule)
    if config.data.get("pack") and is_local(data.root) and not Path(data.root, "manifest.json").exists():
        findings.append(Finding(f"data: {data.root} is packed by the first training; pack it before, to plan reading."))
        return None
    share = data.batch_size // data.lanes
    if share % world.parts:
        text = f"trainer.accumulate_grad_batches: {world.parts} does not divide {share} = batch_size / lanes."
        findings.append(Finding(text, fatal=True))
    told = {"lanes": data.lanes, "block": data.block, "seed": data.seed}
    try:
        return StreamLoader(
            data.manifest, data.batch_size, **told, world_size=world.ranks, num_workers=world.workers
        ).stream
    except UserError as error:
        findings.append(Finding(str(error), fatal=True))
        return None


def _reading(
    stream: "Stream",
    world: "World",
    rate: "Rate",
    max_images: int,
    cluster: "Cluster | None",
    findings: "list[Finding]",
) -> None:
    from diffusion_lit.cluster.measure import node_memory, reading_rate
    from diffusion_lit.cluster.plan import Finding, Flow, coverage, find_readers, look_at_readers

    manifest = stream.manifest
    shards, count = manifest.shards("train"), manifest.count("train")
    size = sum(shard.bytes for shard in shards)
    readers = find_readers(stream, world.ranks, world.workers)
    found = coverage(readers, len(shards))
    _say("data", f"{manifest.root}: {count:,} images in {len(shards):,} shards, {_size(size)}")
    _say("a pass", f"{count / stream.batch_size:,.1f} batches; the run makes {max_images / count:,.2f} passes")
    _say("shards", f"{found.twice or 'none'} read twice in a pass, {found.missed or 'none'} missed")
    _say("pass 0", *_table(readers, world))
    findings += look_at_readers(readers, stream)

    pixels = 4 * manifest.shape[0] * manifest.shape[1] * manifest.shape[2]
    ahead = 2 * stream.batch_size // world.ranks * pixels if world.workers else 0  # batches that workers prepare
    node = max(sum(r.held for r in readers if r.rank // world.tasks == node) for node in range(world.nodes))
    node += world.tasks * ahead
    _say("blocks", f"{_size(node)} of a node's memory, for shards that are being read and batches that are ready")
    limit = node_memory(cluster)
    if limit is not None and node > 0.5 * limit:
        text = (
            f"blocks: {_size(node)} of {_size(limit)} of a node's memory. Pack into smaller shards, or set block=1 "
            "(a new order), fewer lanes, or ask for more (cluster.memory)."
        )
        findings.append(Finding(text, fatal=node > limit))

    flow = Flow(rate.images, reading_rate(stream), world, stream.lanes)
    busy = f": readers are busy {flow.share:.0%} of the time" if rate.images else ""
    _say(
        "images/s",
        f"{flow.decoded:,.0f} a reader, measured here on a shard; {flow.given:,.0f} by {len(readers)}",
        f"training takes {f'{rate.images:,.0f} ({rate.source})' if rate.images else rate.source}{busy}",
    )
    findings += flow.findings()
    cores = cluster.cpus if cluster else (os.cpu_count() or 1) // world.tasks if world.nodes == 1 else None
    if cores is not None and world.workers + 1 > max(1, cores):
        what = f"cluster.cpus={world.workers + 1}" if cluster else "fewer data.num_workers"
        findings.append(Finding(f"cores: {cores} for a process and its {world.workers} workers; set {what}."))


def _table(readers: "list[Reader]", world: "World") -> list[str]:
    from diffusion_lit.tracking.table import Table

    rows = [
        [
            str(reader.rank),
            str(reader.worker) if world.workers else "-",
            "-".join(map(str, dict.fromkeys((reader.lanes[0], reader.lanes[-1])))),
            f"{len(reader.shards):,}",
            f"{reader.images:,}",
            _size(reader.held),
        ]
        for reader in readers[:_READERS]
    ]
    lines = Table(["rank", "worker", "lanes", "shards", "images", "held"], rows).text().splitlines()
    if more := readers[_READERS:]:
        images = [reader.images for reader in more]
        lines.append(f"and {len(more):,} more, with {min(images):,} to {max(images):,} images")
    return lines


def _memory(
    config: "DictConfig",
    module: "DiffusionModule",
    summary: "Summary",
    world: "World",
    own: dict[str, Any],
    findings: "list[Finding]",
) -> tuple[int, int]:
    """Print the table of memory; return the number of averages and the bytes of a checkpoint."""
    from diffusion_lit.cluster.measure import device_memory, optimizer_states
    from diffusion_lit.cluster.memory import GIB, checkpoint_bytes, parts_of, replicated, sharded
    from diffusion_lit.cluster.plan import look_at_memory
    from diffusion_lit.tracking.table import Table

    states, averages = optimizer_states(module.make_optimizer), len(config.callbacks.get("ema", {}).get("widths", []))
    parts = parts_of(module.denoiser.network)  # type: ignore[union-attr]
    activations = summary.activation_bytes * -(-config.batch_size // (world.ranks * world.parts))
    whole = replicated(parts, states, averages, activations, world.ranks, world.views)
    shared = sharded(parts, states, averages, activations, world.ranks)
    names = {"one process" if world.ranks == 1 else "DDP": whole} | ({} if world.ranks == 1 else {"FSDP": shared})
    rows = [[name, *(_gib(n) for n in (*vars(m).values(), m.total))] for name, m in names.items()]
    _say("memory", *Table(["GiB a process", *vars(whole), "total"], rows).text().splitlines())
    used = shared if world.sharded else whole
    limit, place = device_memory(own["gpu_memory"], world)
    findings += look_at_memory(used, None if world.sharded or world.ranks == 1 else shared, limit, place)
    if limit:
        _say("", f"{used.total / limit:.0%} of {limit / GIB:.1f} GiB of {place}")
    return averages, checkpoint_bytes(summary.parameter_bytes, states, averages)


def _disk(config: "DictConfig", averages: int, checkpoint: int, weights: int, findings: "list[Finding]") -> None:
    from diffusion_lit.cluster.disk import Disk, existing
    from diffusion_lit.cluster.plan import Finding
    from diffusion_lit.configuration import plain

    disk = Disk.of(plain(config), checkpoint, averages * weights)
    needed, folder = disk.needed, existing(str(config.paths.run))
    free = shutil.disk_usage(folder).free
    more = f", and {disk.snapshots} snapshots of {_size(disk.snapshot)}" if disk.snapshots else ""
    _say(
        "disk", f"{disk.files} checkpoints of {_size(checkpoint)} at a time{more}: {_size(needed)}; {_size(free)} free"
    )
    if needed > 0.8 * free:
        text = (
            f"disk: {_size(needed)} of checkpoints, {_size(free)} free in {folder}. Free some, choose another "
            "paths.runs, or keep less (callbacks.checkpoint.keep)."
        )
        findings.append(Finding(text, fatal=needed > free))
    cache = config.data.get("cache")
    if cache:
        there = existing(cache)
        if config.data.cache_gib * 2**30 > shutil.disk_usage(there).free:
            findings.append(
                Finding(f"cache: data.cache_gib={config.data.cache_gib:g} is more than is free in {there}.")
            )


def _gib(number: int) -> str:
    return f"{number / 2**30:.3f}" if number < 2**30 else f"{number / 2**30:.2f}"


def _size(number: int) -> str:
    power = min(4, int(log2(max(1, number)) / 10))
    return f"{number / 1024**power:,.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
