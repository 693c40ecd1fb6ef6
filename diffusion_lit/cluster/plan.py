"""What a run asks of its data and its machines, found from the manifest and a few measured numbers before it starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from diffusion_lit.cluster.memory import GIB, Memory
from diffusion_lit.data.loader import divided
from diffusion_lit.data.manifest import Shard
from diffusion_lit.data.stream import Stream

__all__ = [
    "Coverage",
    "Finding",
    "Flow",
    "Reader",
    "World",
    "coverage",
    "find_readers",
    "look_at_memory",
    "look_at_readers",
]


@dataclass(frozen=True)
class Finding:
    """Something to know before the start.

    Args:
        text: what it is, and the mend.
        fatal: whether the run cannot work.
    """

    text: str
    fatal: bool = False


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Args:
        nodes: how many.
        tasks: training processes of each.
        workers: reading processes of each training process.
        parts: that a batch is computed in.
        sharded: whether weights are shared out (FSDP).
        views: whether DDP's buckets are the gradients themselves.
        gpu: whether they compute on GPUs.
    """

    nodes: int
    tasks: int
    workers: int
    parts: int
    sharded: bool
    views: bool
    gpu: bool

    @classmethod
    def read(cls, trainer: Mapping[str, Any], workers: int, gpus: int) -> "World":
        """Make one of a configuration.

        Args:
            trainer: its group.
            workers: data.num_workers.
            gpus: of this machine, which devices=auto takes.
        """
        devices, strategy = trainer.get("devices", 1), trainer.get("strategy", "auto")
        target = str(strategy.get("_target_")) if isinstance(strategy, Mapping) else str(strategy)
        gpu = trainer.get("accelerator") in ("gpu", "cuda")
        tasks = len(devices) if isinstance(devices, list) else int(devices) if str(devices).isdigit() else 0
        return cls(
            nodes=int(trainer.get("num_nodes") or 1),
            tasks=tasks or (max(1, gpus) if gpu else 1),
            workers=workers,
            parts=int(trainer.get("accumulate_grad_batches") or 1),
            sharded="Sharded" in target or "fsdp" in target.lower(),
            views=isinstance(strategy, Mapping) and bool(strategy.get("gradient_as_bucket_view")),
            gpu=gpu,
        )

    @property
    def ranks(self) -> int:
        """Training processes."""
        return self.nodes * self.tasks

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        what = "GPU" if self.gpu else "process"
        tasks = f"{self.tasks} {what}" + ("" if self.tasks == 1 else "s" if self.gpu else "es")
        workers = {0: "reading between its steps", 1: "with 1 worker"}.get(self.workers, f"with {self.workers} workers")
        return f"{nodes} x {tasks}, each {workers}"


@dataclass(frozen=True)
class Reader:
    """A process that reads: a worker, or the rank itself where it has none.

    Args:
        rank: of the training process that it reads for.
        worker: 0, 1, ... of that rank.
        lanes: of the stream.
        shards: that it reads in pass 0, by their number in the manifest; other passes deal them anew.
        images: in those.
        held: bytes of the blocks that it holds at a time, at most in pass 0; a worker reads the next ones meanwhile.
    """

    rank: int
    worker: int
    lanes: tuple[int, ...]
    shards: tuple[int, ...]
    images: int
    held: int


def find_readers(stream: Stream, world_size: int, workers: int) -> list[Reader]:
    """Share out the lanes as the loaders do, and look up what is dealt to them in pass 0.

    Args:
        stream: of the run.
        world_size: number of training processes.
        workers: reading processes of each; 0 reads in the process itself.
    """
    shards = stream.manifest.shards("train")
    ranks = divided(range(stream.lanes), world_size)
    readers = []
    for rank, of_rank in enumerate(ranks):
        for worker, lanes in enumerate(divided(of_rank, max(1, workers))):
            dealt = [[int(i) for i in stream.dealt(0, lane)] for lane in lanes]
            mine = [i for of_lane in dealt for i in of_lane]
            held = (2 if workers else 1) * sum(
                _largest_block([shards[i] for i in of_lane], stream.block) for of_lane in dealt
            )
            images = sum(shards[i].count for i in mine)
            readers.append(Reader(rank, worker, tuple(lanes), tuple(mine), images, held))
    return readers


def _largest_block(shards: Sequence[Shard], block: int) -> int:
    sizes = [sum(shard.bytes for shard in shards[i : i + block]) for i in range(0, len(shards), block)]
    return max(sizes, default=0)


@dataclass(frozen=True)
class Coverage:
    """How often the readers read each shard in pass 0.

    Args:
        twice: shards that more than one lane reads.
        missed: shards that none reads.
    """

    twice: int
    missed: int


def coverage(readers: Sequence[Reader], shards: int) -> Coverage:
    """Count what all readers together read.

    Args:
        readers: all of them.
        shards: number of training shards.
    """
    times = [0] * shards
    for reader in readers:
        for i in reader.shards:
            times[i] += 1
    return Coverage(sum(n > 1 for n in times), times.count(0))


def look_at_readers(readers: Sequence[Reader], stream: Stream) -> list[Finding]:
    """Find shards read twice or missed, and readers that have nothing or little to read."""
    found = coverage(readers, len(stream.manifest.shards("train")))
    findings = []
    if found.twice or found.missed:
        findings.append(
            Finding(f"shards: {found.twice} read twice and {found.missed} missed in a pass; report this as a bug", True)
        )
    mean = sum(reader.images for reader in readers) / len(readers)
    least = min(readers, key=lambda reader: reader.images)
    if least.images < mean / 2:
        findings.append(
            Finding(
                f"rank {least.rank}, worker {least.worker} has {least.images:,} images in pass 0, others {mean:,.0f}: "
                "it starts its next pass before the others end theirs, and mixes images less well. Pack into shards of "
                "more equal size, or into more of them."
            )
        )
    return findings


@dataclass(frozen=True)
class Flow:
    """Images a second: what the network takes, and what the readers give.

    Args:
        needed: by training, over all ranks; None if it is not known.
        decoded: by one reader, as measured.
        world: of the run; a rank without workers reads between its steps.
        lanes: of the stream.
    """

    needed: float | None
    decoded: float
    world: World
    lanes: int

    @property
    def given(self) -> float:
        """Images a second of all readers together."""
        return self.decoded * self.world.ranks * max(1, self.world.workers)

    @property
    def share(self) -> float:
        """Time that readers are busy, of the time of training; above 1 training waits for them."""
        return 0.0 if self.needed is None else self.needed / self.given if self.given else inf

    def findings(self) -> list[Finding]:
        """Say so if the network would wait for its images."""
        if self.needed is None or self.share <= (0.8 if self.world.workers else 0.1):
            return []
        wanted = ceil(self.needed / 0.8 / self.decoded / self.world.ranks)
        possible = [
            n for n in range(wanted, self.lanes // self.world.ranks + 1) if self.lanes % (n * self.world.ranks) == 0
        ]
        mend = (
            f"Set data.num_workers={possible[0]}, with a core for each."
            if possible
            else f"It takes {wanted} workers a rank, with a core for each, and a new run whose data.lanes are a "
            f"multiple of {wanted * self.world.ranks}."
        )
        between = "" if self.world.workers else ", and a rank reads between its steps"
        return [
            Finding(
                f"reading: {self.given:,.0f} images/s are read and {self.needed:,.0f} wanted{between}: training waits "
                f"for images. {mend}"
            )
        ]


def look_at_memory(memory: Memory, other: Memory | None, limit: int | None, place: str) -> list[Finding]:
    """Compare what a process needs with what its device has.

    Args:
        memory: as configured.
        other: with the weights shared out, if they are not yet and there is more than one process.
        limit: bytes of the device; None if unknown.
        place: its name.
    """
    if limit is None or memory.total <= 0.9 * limit:  # the rest is fragments, kernels' workspaces, the context
        return []
    mends = []
    if memory.activations > memory.total / 3:
        mends.append("compute a batch in parts (trainer.accumulate_grad_batches=2), or a smaller batch_size")
    if other is not None and other.total <= 0.9 * limit:
        mends.append(f"trainer=fsdp needs {other.total / GIB:.3g} GiB")
    mends.append("take more or larger GPUs")
    return [
        Finding(
            f"memory: {memory.total / GIB:.3g} GiB for a process, {limit / GIB:.3g} GiB on {place}: "
            f"{'; or '.join(mends)}.",
            fatal=memory.total > limit,
        )
    ]
