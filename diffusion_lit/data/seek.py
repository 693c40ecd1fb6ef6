"""Where lanes stand after so many images each, from the counts of the shards alone.

The shards of pass 0, in its order, then those of pass 1, and so on, are one endless row; place p of it belongs to lane
p mod L. A lane's next image lies in the shard at the first of its places up to which the counts add to more than what
it has given.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

__all__ = ["Start", "seek"]

Start = tuple[int, int]  # pass, and how many of its images the lane has given already

_PLACES = 1 << 20  # of the row that are looked at in one go


def seek(
    counts: Int64[np.ndarray, " shards"],
    order: Callable[[int], Int64[np.ndarray, " shards"]],
    all_lanes: int,
    images: int,
    lanes: Sequence[int],
) -> dict[int, Start]:
    """Find where lanes stand.

    With shards of one size that is a division. Else the orders of all passes so far count: a lane's share of a pass
    depends on which shards it was dealt.

    Args:
        counts: images of each shard, positive.
        order: pass -> permutation of the shards.
        all_lanes: L, at most the number of shards.
        images: that each lane has given.
        lanes: which to find.

    Returns:
        lane -> (pass, images of that pass that the lane has given already).
    """
    if counts.min() == counts.max():
        return {lane: _even(len(counts), int(counts[0]), all_lanes, images, lane) for lane in lanes}
    shards = len(counts)
    given = np.zeros(all_lanes, dtype=np.int64)  # by each lane before pass `epoch`
    found: dict[int, Start] = {}
    epoch = 0
    while True:
        left = images * all_lanes - int(given.sum())
        passes = max(1, min(_ceil(left, int(counts.sum())), _PLACES // shards))
        table = _deal(counts, order, all_lanes, range(epoch, epoch + passes))
        sums = np.vstack((given, given + np.cumsum(table, axis=0)))
        offset = epoch * shards // all_lanes * all_lanes  # place of the table's first entry
        for lane in [lane for lane in lanes if lane not in found and sums[-1, lane] > images]:
            row = int(np.searchsorted(sums[1:, lane], images, side="right"))
            its_pass = (offset + row * all_lanes + lane) // shards
            first = max(0, _ceil(its_pass * shards - offset - lane, all_lanes))  # row of its first shard in this pass
            found[lane] = its_pass, images - int(sums[first, lane])
        if len(found) == len(lanes):
            return {lane: found[lane] for lane in lanes}
        given, epoch = sums[-1], epoch + passes


def _even(shards: int, count: int, all_lanes: int, images: int, lane: int) -> Start:
    """The same for shards of `count` images: the lane is in its (images // count)-th place."""
    its_pass = (lane + images // count * all_lanes) // shards
    before = max(0, _ceil(its_pass * shards - lane, all_lanes))  # its places in earlier passes
    return its_pass, images - before * count


def _deal(
    counts: Int64[np.ndarray, " shards"],
    order: Callable[[int], Int64[np.ndarray, " shards"]],
    lanes: int,
    passes: range,
) -> Int64[np.ndarray, "rows lanes"]:
    """Counts of the shards of some passes, a column a lane, with zeros where the row is not theirs."""
    row = counts[np.concatenate([order(epoch) for epoch in passes])]
    before = passes.start * len(counts) % lanes
    return np.pad(row, (before, -(before + len(row)) % lanes)).reshape(-1, lanes)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
