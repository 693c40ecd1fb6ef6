"""The training stream: which image stands where is a pure function of (seed, images seen).

There are L virtual lanes. Think of the shards of pass 0, permuted by (seed, 0), then those of pass 1, permuted by
(seed, 1), and so on: one endless row. It is dealt to the lanes in turn, so lane l takes the places l, l + L, l + 2L
and so on of the row. What a lane gets within one pass it reads in blocks of m shards; the samples of a block are
permuted by (seed, pass, lane, block). Global batch k takes the next B / L samples of every lane, in lane order.

* Each pass has each shard once, so each image is seen exactly once a pass, by the lane that was dealt its shard.
* Lanes never wait for each other and need not be equal: a lane goes on to its next pass when its own shards are read.
  Dealing goes on where the last pass ended, so at any place in the row the lanes have had the same number of shards to
  one, also when L does not divide the number of shards.
* The position is one integer: after n images every lane has given n / L, and whole passes and blocks are skipped by the
  counts in the manifest, without reading. Nothing depends on the number of processes or workers: these only share out
  the lanes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count, islice
from threading import Lock

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from diffusion_lit.data.ahead import Ahead
from diffusion_lit.data.manifest import Manifest, Shard
from diffusion_lit.data.seek import Start, seek
from diffusion_lit.data.shards import Sample, collate, read_shard
from diffusion_lit.errors import UserError

__all__ = ["Stream", "permutation"]

_SHARDS, _SAMPLES = 0, 1  # what a permutation is of: keeps the two families of seeds apart


def permutation(n: int, *key: int) -> Int64[np.ndarray, " n"]:
    """Permute range(n) by a key of integers, each in [0, 2^64).

    NumPy guarantees the raw output of PCG64 and SeedSequence for ever, but not that of Generator.permutation; so the
    permutation is the order of n raw 64-bit words, and a checkpoint goes on with the same stream under another NumPy.
    """
    words = np.random.PCG64(np.random.SeedSequence(key)).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)


@lru_cache(maxsize=4)
def _order(shards: int, seed: int, epoch: int) -> Int64[np.ndarray, " shards"]:
    """The order of the shards in a pass, which all lanes of a process share."""
    order = permutation(shards, seed, _SHARDS, epoch)
    order.flags.writeable = False
    return order


@dataclass(frozen=True)
class _Block:
    """The shards that a lane mixes at a time: those of a pass from the `number`-th that it is dealt on."""

    epoch: int
    number: int
    shards: list[Shard]

    @property
    def size(self) -> int:
        return sum(shard.count for shard in self.shards)


@dataclass(frozen=True)
class Stream:
    """The endless stream of the training split.

    Args:
        manifest: of the pack.
        batch_size: B, images in a global batch, a multiple of `lanes`.
        lanes: L, at most the number of training shards.
        block: m, shards that a lane holds (as PNG bytes) and mixes at a time.
        seed: not negative.

    Raises:
        UserError: a number is out of its range.
    """

    manifest: Manifest
    batch_size: int
    lanes: int
    block: int
    seed: int

    def __post_init__(self) -> None:
        shards = len(self.manifest.shards("train"))
        if self.lanes < 1 or self.block < 1 or self.seed < 0:
            raise UserError(
                f"stream: lanes={self.lanes}, block={self.block}, seed={self.seed}; lanes and block must be at least 1 "
                "and the seed at least 0."
            )
        if shards < self.lanes:
            raise UserError(
                f"shards: {shards} < {self.lanes} = lanes (a multiple of ranks x workers) in {self.manifest.root}; "
                f"pack with --shards {self.lanes} or more, or choose fewer lanes."
            )
        if self.batch_size < 1 or self.batch_size % self.lanes:
            raise UserError(
                f"batch_size: {self.batch_size} is not a multiple of {self.lanes} = lanes; every lane gives the same "
                f"number of images to a batch. Choose a multiple of {self.lanes}, or other lanes."
            )

    def seek(self, images_seen: int, lanes: Sequence[int]) -> dict[int, Start]:
        """Find where some lanes stand: lane -> (pass, images of that pass that it has given already).

        Args:
            images_seen: by all lanes together, a multiple of their number (such as of the batch size).
            lanes: which, in ascending order.

        Raises:
            UserError: `images_seen` is no such multiple.
        """
        if images_seen < 0 or images_seen % self.lanes:
            raise UserError(
                f"images_seen: {images_seen} is not a multiple of {self.lanes} = lanes; start with the lanes of the "
                "run that is continued."
            )
        counts = np.array([shard.count for shard in self.manifest.shards("train")], dtype=np.int64)
        return seek(counts, self._order, self.lanes, images_seen // self.lanes, lanes)

    def pieces(
        self, images_seen: int, starts: Mapping[int, Start], parts: int = 1, ahead: bool = False
    ) -> Iterator[dict[str, Tensor]]:
        """Yield what some lanes give to each global batch, for ever.

        Args:
            images_seen: where to start.
            starts: what `seek` found there for these lanes.
            parts: each global batch comes in so many equal parts, one after the other: gradients that are accumulated
                over them are those of the whole batch, of the same images at the same positions.
            ahead: whether a thread reads each lane's next block while it gives the one before. Lanes end their blocks
                at about the same time, and would all read then; but two blocks are in memory.

        Raises:
            UserError: the parts do not divide, or a shard cannot be read.
        """
        share = self.batch_size // self.lanes
        if parts < 1 or share % parts:
            raise UserError(
                f"accumulate_grad_batches: {parts} does not divide {share} = batch_size / lanes ({self.batch_size} / "
                f"{self.lanes}); every lane gives the same number of images to each part of a batch."
            )
        part = share // parts
        one = Lock() if ahead else None
        sources = [self._samples(lane, *start, one) for lane, start in starts.items()]
        for start in count(images_seen, self.batch_size):
            for first in range(start, start + share, part):
                samples = [sample for source in sources for sample in islice(source, part)]
                positions = [first + lane * share + i for lane in starts for i in range(part)]
                yield collate(samples, self.manifest.shape, positions)

    def _order(self, epoch: int) -> Int64[np.ndarray, " shards"]:
        return _order(len(self.manifest.shards("train")), self.seed, epoch)

    def dealt(self, epoch: int, lane: int) -> Int64[np.ndarray, " dealt"]:
        """Give the shards of a pass, by number, that stand at the places lane, lane + L, ... of the endless row."""
        order = self._order(epoch)
        return order[(lane - epoch * len(order)) % self.lanes :: self.lanes]

    def _blocks(self, lane: int, epoch: int) -> Iterator[_Block]:
        """Yield a lane's blocks from pass `epoch` on."""
        shards = self.manifest.shards("train")
        for e in count(epoch):
            dealt = [shards[i] for i in self.dealt(e, lane)]
            for number in range(0, len(dealt), self.block):
                yield _Block(e, number, dealt[number : number + self.block])

    def _samples(self, lane: int, epoch: int, skip: int, one: AbstractContextManager | None) -> Iterator[Sample]:
        """Yield a lane's samples from the `skip`-th of pass `epoch` on; with `one` the next block is read meanwhile."""

        def read(block: _Block) -> dict[int, Sample]:
            return dict(enumerate(sample for shard in block.shards for sample in read_shard(self.manifest, shard)))

        blocks = self._blocks(lane, epoch)
        block = next(blocks)
        while skip >= block.size:
            skip -= block.size
            block = next(blocks)
        samples = read(block)
        while True:
            following = next(blocks)
            ahead = None if one is None else Ahead(partial(read, following), one)
            for i in permutation(block.size, self.seed, _SAMPLES, block.epoch, lane, block.number)[skip:]:
                yield samples.pop(int(i))
            del samples  # before the next block is read
            block, skip = following, 0
            samples = read(block) if ahead is None else ahead.value()
