"""Seeking is what dealing all shards one by one would find, and is quick far into a training."""

import numpy as np
import pytest

from diffusion_lit.data.seek import Start, seek
from diffusion_lit.data.stream import permutation


def _order(shards: int):
    return lambda epoch: permutation(shards, 7, 0, epoch)


def _one_by_one(counts: np.ndarray, lanes: int, images: int, lane: int) -> Start:
    """Walk along the endless row, place by place."""
    place, of_pass, left, last = 0, 0, images, -1
    while True:
        epoch = place // len(counts)
        if epoch != last:
            order, last, of_pass = permutation(len(counts), 7, 0, epoch), epoch, 0
        if place % lanes == lane:
            size = int(counts[order[place % len(counts)]])
            if left < size:
                return epoch, of_pass + left
            left -= size
            of_pass += size
        place += 1


def _counts(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize(
    ("counts", "lanes"),
    [
        (_counts(3, 5, 4, 4, 6), 2),
        (_counts(3, 5, 4, 4, 6), 4),
        (_counts(3, 5, 4, 4, 6), 5),
        (_counts(1, 9, 2, 2, 7, 1, 1), 3),
        (_counts(4, 4, 4, 4, 4), 2),
        (_counts(4, 4, 4, 4, 4), 3),
        (_counts(1, 1, 1, 1), 4),
        (_counts(6), 1),
        (_counts(2, 3), 1),
    ],
)
def test_it_finds_what_dealing_one_by_one_finds(
    counts: np.ndarray, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for places in (1, 20, 1 << 20):  # a pass at a time, some, all
        monkeypatch.setattr("diffusion_lit.data.seek._PLACES", places)
        for images in [*range(60), 217, 500]:
            found = seek(counts, _order(len(counts)), lanes, images, range(lanes))
            assert list(found) == list(range(lanes))
            assert found == {lane: _one_by_one(counts, lanes, images, lane) for lane in range(lanes)}, images


def test_shards_of_one_size_need_no_orders() -> None:
    def no_order(epoch: int) -> np.ndarray:
        raise AssertionError

    images = 10**18
    found = seek(np.full(10_000, 10_000), no_order, 64, images, range(64))
    for lane, (epoch, given) in found.items():
        places = images // 10_000  # of the lane, before the one it is in
        assert epoch == (lane + 64 * places) // 10_000
        assert 0 <= given < 157 * 10_000


def test_ten_thousand_unequal_shards_take_one_look_at_each_pass() -> None:
    counts, orders = 10_000 + np.arange(10_000) % 7, []

    def order(epoch: int) -> np.ndarray:
        orders.append(epoch)
        return permutation(10_000, 7, 0, epoch)

    found = seek(counts, order, 64, 10**10 // 64, range(64))  # a hundred passes of 10^8 images
    assert {epoch for epoch, _ in found.values()} == {99}
    assert orders == list(range(100))
