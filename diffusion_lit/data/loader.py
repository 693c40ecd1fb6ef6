"""Loaders: the training stream with worker processes, and the finite held-out splits."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from diffusion_lit.data.manifest import Manifest
from diffusion_lit.data.seek import Start
from diffusion_lit.data.shards import collate, read_shard
from diffusion_lit.data.stream import Stream
from diffusion_lit.errors import UserError

__all__ = ["HeldOutLoader", "StreamLoader", "divided", "part_of"]

Batch = dict[str, Tensor]


def part_of(n: int, rank: int, world_size: int) -> range:
    """A process's part of 0..n-1: neighbouring numbers, as many as the other processes have, to one."""
    return range(n * rank // world_size, n * (rank + 1) // world_size)


def divided(lanes: Sequence[int], readers: int) -> list[Sequence[int]]:
    """Share out lanes to readers, equal numbers of neighbouring ones; `readers` divides their number."""
    share = len(lanes) // readers
    return [lanes[i * share : (i + 1) * share] for i in range(readers)]


class StreamLoader:
    """An endless iterable of training batches; every `iter` starts anew at `images_seen`.

    Lanes are shared out: first to the ranks, then to a rank's workers, always as whole and neighbouring lanes. So the
    global order is the same for every number of ranks and workers that divides the lanes.

    Args:
        root: folder or URL of the pack, or its manifest.
        batch_size: images in a global batch, over all ranks.
        seed: of the order.
        images_seen: where to start, or a function that tells it when iteration starts.
        lanes: a multiple of world_size x max(1, num_workers), at most the number of training shards.
        rank: of this process; given, because a worker that is not forked does not know it.
        world_size: number of processes.
        num_workers: reading processes; 0 reads in this one.
        block: shards that a lane mixes at a time.
        parts: each global batch comes in so many equal parts, whose gradients are accumulated.
        start_method: "fork", "forkserver" or "spawn"; None takes Python's default.

    Yields:
        this rank's part of each global batch, as `diffusion_lit.data.shards.collate` says; "position" is the place in
        the global stream.

    Raises:
        UserError: numbers that do not divide; while iterating, a shard that cannot be read.
    """

    def __init__(
        self,
        root: str | Path | Manifest,
        batch_size: int,
        seed: int = 0,
        images_seen: int | Callable[[], int] = 0,
        lanes: int = 8,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        block: int = 2,
        parts: int = 1,
        start_method: str | None = None,
    ):
        manifest = root if isinstance(root, Manifest) else Manifest.read(root)
        self.stream = Stream(manifest, batch_size, lanes, block, seed)
        readers = world_size * max(1, num_workers)
        if lanes % readers:
            raise UserError(
                f"lanes: {lanes} is not a multiple of {readers} = {world_size} ranks x {max(1, num_workers)} workers; "
                f"every worker reads whole lanes. Choose num_workers so that it divides {lanes}, or other lanes."
            )
        if start_method not in (None, *get_all_start_methods()):
            raise UserError(f"start_method: {start_method!r}; choose {', '.join(get_all_start_methods())}, or null.")
        self.images_seen = images_seen
        self.lanes = divided(range(lanes), world_size)[rank]
        self.num_workers = num_workers
        self.parts = parts
        self.start_method = start_method

    def __iter__(self) -> Iterator[Batch]:
        start = self.images_seen() if callable(self.images_seen) else self.images_seen
        starts = self.stream.seek(start, self.lanes)  # here, once for all workers
        if self.num_workers == 0:
            yield from self.stream.pieces(start, starts, self.parts)
            return
        loader = DataLoader(
            _Pieces(self.stream, start, starts, self.parts),
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=_same,
            multiprocessing_context=self.start_method,
            generator=torch.Generator().manual_seed(0),  # or the loader would draw from the global one
            worker_init_fn=_begin,
        )
        with _deaf_children():
            workers = iter(loader)
        try:
            while True:  # a DataLoader takes from its workers in turn, so this is worker 0's piece, worker 1's, ...
                pieces = [_raised(next(workers)) for _ in range(self.num_workers)]
                yield {key: torch.cat([piece[key] for piece in pieces]) for key in pieces[0]}
        finally:
            # Shut the workers down here and now: a traceback holds this frame in a cycle, and a garbage collector that
            # meets the queues before their owner leaves every worker waiting for seconds.
            del workers


@dataclass
class _Pieces(IterableDataset):
    """What one worker reads: its share of the lanes of a rank."""

    stream: Stream
    images_seen: int
    starts: dict[int, Start]
    parts: int

    def __iter__(self) -> Iterator[Batch | UserError]:
        info = get_worker_info()
        assert info is not None
        lanes = divided(list(self.starts), info.num_workers)[info.id]
        mine = {lane: self.starts[lane] for lane in lanes}
        try:
            yield from self.stream.pieces(self.images_seen, mine, self.parts, ahead=True)
        except UserError as error:  # sent as it is: DataLoader would wrap its message in a traceback
            yield error


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes that are started here never hear Ctrl-C and SIGUSR1.

    A terminal and SLURM send them to all processes of a job. Training finishes its step and saves; it cannot if what
    reads for it has died. A mask, unlike a handler, is inherited by all start methods, and by their helpers.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(worker: int) -> None:
    """Let SIGTERM end this process in two minutes: SLURM sends it to all at once, multiprocessing to stuck workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # multiprocessing lifts its mask when it starts its resource tracker
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(120))
    Finalize(None, _end, exitpriority=-100)  # after all that multiprocessing itself does at the end


def _end() -> None:
    """End a worker as a forked one ends.

    A spawned one would finalize its interpreter under a thread that still sends a batch, and if that is within torch's
    C++ the process aborts: the training process would be told that a worker was killed.
    """
    if sys.exc_info()[0] is None:
        sys.stdout.flush()
        os._exit(0)


def _same(value: Any) -> Any:
    return value


def _raised(piece: Batch | UserError) -> Batch:
    if isinstance(piece, UserError):
        raise piece
    return piece


class HeldOutLoader:
    """A finite iterable of a split's batches, in the order of the manifest; nothing is dropped.

    Args:
        manifest: of the pack.
        split: its name.
        batch_size: images in a batch of this rank.
        rank: of this process, which reads its part of neighbouring images, and no shard that has none of them.
        world_size: number of processes.

    Yields:
        batches as `diffusion_lit.data.shards.collate` says; "position" is the index in the split.
    """

    def __init__(self, manifest: Manifest, split: str, batch_size: int, rank: int = 0, world_size: int = 1):
        self.manifest = manifest
        self.shards = manifest.shards(split)
        self.batch_size = batch_size
        self.indices = part_of(manifest.count(split), rank, world_size)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        samples, positions = [], []
        end = 0
        for shard in self.shards:
            first, end = end, end + shard.count
            mine = range(max(first, self.indices.start), min(end, self.indices.stop))
            if not mine:
                continue
            held = read_shard(self.manifest, shard)
            for position in mine:
                samples.append(held[position - first])
                positions.append(position)
                if len(samples) == self.batch_size:
                    yield collate(samples, self.manifest.shape, positions)
                    samples, positions = [], []
        if samples:
            yield collate(samples, self.manifest.shape, positions)
