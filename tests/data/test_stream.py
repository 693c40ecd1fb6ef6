"""The stream is a pure function of (seed, images seen), whoever reads it."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusion_lit.data import HeldOutLoader, Manifest, Shard, ShardsDataModule, StreamLoader, loader, pack
from diffusion_lit.data.shards import Sample, read_shard
from diffusion_lit.data.stream import permutation
from diffusion_lit.errors import UserError
from tests.data.server import until


def _first(loader: StreamLoader, batches: int) -> list[dict[str, Tensor]]:
    return list(islice(loader, batches))


def _ids(batches: list[dict[str, Tensor]]) -> list[int]:
    return torch.cat([batch["id"] for batch in batches]).tolist()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """25 training images of 3 x 5 pixels in 5 unequal shards (4 or 6 images), without labels."""
    folder = tmp_path_factory.mktemp("uneven")
    images = np.random.default_rng(0).integers(0, 256, (32, 3, 5), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    return pack("npz", folder / "pack", shards=5, progress=False, path=str(folder / "images.npz"))


def test_a_batch_is_images_labels_ids_and_positions(digits: Manifest) -> None:
    batch = _first(StreamLoader(digits.root, 16, images_seen=32), 1)[0]
    assert batch["image"].shape == (16, 1, 8, 8)
    assert batch["image"].dtype == torch.float32
    assert (batch["image"].min(), batch["image"].max()) == (-1, 1)
    assert batch["position"].tolist() == list(range(32, 48))
    held = ShardsDataModule(digits.root, 8).held_out("train")
    rows = torch.searchsorted(held["id"], batch["id"])
    assert torch.equal(held["image"][rows], batch["image"])
    assert torch.equal(held["label"][rows], batch["label"])


def test_permutations_are_fixed_for_ever_and_depend_on_the_whole_key() -> None:
    assert permutation(8, 0, 1, 2).tolist() == [3, 4, 7, 6, 1, 5, 2, 0]
    assert len({tuple(permutation(20, *key)) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}) == 4


@pytest.mark.parametrize("block", [1, 2, 3])
def test_it_can_be_entered_anywhere(uneven: Manifest, block: int) -> None:
    whole = _first(StreamLoader(uneven, 4, seed=3, lanes=2, block=block), 60)
    for start in (1, 7, 24, 49):
        again = _first(StreamLoader(uneven, 4, seed=3, lanes=2, block=block, images_seen=4 * start), 60 - start)
        for a, b in zip(whole[start:], again, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a)


def test_each_pass_of_a_lane_has_the_shards_dealt_to_it_and_all_lanes_have_all(uneven: Manifest) -> None:
    loader = StreamLoader(uneven, 2, lanes=2)
    size = uneven.count("train")
    given: list[list[int]] = [[], []]
    for batch in _first(loader, 6 * size):
        for lane in range(2):
            given[lane].append(int(batch["id"][lane]))
    shard_ids = [[s.id for s in _samples(uneven, i)] for i in range(5)]
    place = [0, 0]
    for epoch in range(8):
        seen: Counter[int] = Counter()
        orders = []
        for lane in range(2):
            mine = loader.stream.dealt(epoch, lane)
            number = sum(len(shard_ids[i]) for i in mine)
            part = given[lane][place[lane] : place[lane] + number]
            assert sorted(part) == sorted(i for s in mine for i in shard_ids[s])
            place[lane] += number
            seen.update(part)
            orders.append(part)
        assert len(seen) == size
        assert set(seen.values()) == {1}


def _samples(manifest: Manifest, shard: int):
    from diffusion_lit.data.shards import read_shard

    return read_shard(manifest, manifest.shards("train")[shard])


def test_lanes_keep_pace_when_they_do_not_divide_the_shards(uneven: Manifest) -> None:
    # Shards of 5 +- 1 images dealt in turn: after n images a lane has had one shard more than another at most.
    counts = Counter(_ids(_first(StreamLoader(uneven, 4, lanes=4), 25 * 40)))
    assert len(counts) == uneven.count("train")
    mean = 100 * 40 / uneven.count("train")
    assert max(abs(count - mean) for count in counts.values()) < 0.1 * mean


def test_order_depends_on_the_seed_and_differs_between_passes(digits: Manifest) -> None:
    size = digits.count("train")
    ids = _ids(_first(StreamLoader(digits, 8), 2 * size // 8))
    assert ids != _ids(_first(StreamLoader(digits, 8, seed=1), 2 * size // 8))
    assert ids[:size] != ids[size:]


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_global_batches_are_the_same_for_every_world_size(digits: Manifest, world_size: int) -> None:
    whole = _first(StreamLoader(digits, 16), 3)
    ranks = [_first(StreamLoader(digits, 16, rank=rank, world_size=world_size), 3) for rank in range(world_size)]
    for k, batch in enumerate(whole):
        for key, value in batch.items():
            assert torch.equal(torch.cat([rank[k][key] for rank in ranks]), value)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_two_ranks_with_two_workers_each_share_out_the_stream(digits: Manifest, method: str) -> None:
    state = torch.get_rng_state()
    told = {"world_size": 2, "num_workers": 2, "start_method": method}
    passes = -(-digits.count("train") // 16) + 3  # lanes end their first pass a little apart
    ranks = [_first(StreamLoader(digits.root, 16, rank=rank, **told), passes) for rank in range(2)]
    places = [set(torch.cat([batch["position"] for batch in batches]).tolist()) for batches in ranks]
    assert not places[0] & places[1]  # no place of the stream is read by two ranks
    assert places[0] | places[1] == set(range(16 * passes))  # and none is missed
    counts = Counter(_ids(ranks[0]) + _ids(ranks[1]))
    assert len(counts) == digits.count("train")
    assert counts.total() == 16 * passes
    for k, batch in enumerate(_first(StreamLoader(digits.root, 16), passes)):  # one process sees the same
        assert all(torch.equal(torch.cat([rank[k][key] for rank in ranks]), batch[key]) for key in batch)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("root", ["file:{}", "pipe:cat {}"])
def test_it_reads_through_webdatasets_urls(digits: Manifest, root: str) -> None:
    loader = StreamLoader(root.format(digits.root), 16)
    assert _ids(_first(loader, 2)) == _ids(_first(StreamLoader(digits, 16), 2))


def test_a_new_iteration_asks_where_it_stands(digits: Manifest) -> None:
    seen: Iterator[int] = iter([0, 64])
    loader = StreamLoader(digits, 16, images_seen=lambda: next(seen))
    assert _first(loader, 1)[0]["position"][0] == 0
    assert _first(loader, 1)[0]["position"][0] == 64


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [0, 7000, 1024 * 30])
def test_a_shard_truncated_after_the_check_is_named(damaged: Path, cut: int, workers: int) -> None:
    loader = StreamLoader(damaged, 16, num_workers=workers)
    shard = damaged / "train-000005.tar"
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"^\S*train-000005\.tar: .*expected by manifest\.json") as raised:
        _first(loader, 400)
    assert "Traceback" not in str(raised.value)


def test_a_damaged_image_and_a_missing_shard_are_named(damaged: Path) -> None:
    loader = StreamLoader(damaged, 16)
    shard = damaged / "train-000002.tar"
    content = bytearray(shard.read_bytes())
    start = content.index(b"\x89PNG")
    content[start + 8 : start + 60] = bytes(52)
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"train-000002\.tar: image \d{9} of this shard does not decode"):
        _first(loader, 200)
    shard.unlink()
    with pytest.raises(UserError, match=r"train-000002\.tar: the shard is missing"):
        _first(loader, 200)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 16, "lanes": 16}, "shards: 8 < 16 = lanes .*--shards 16 or more"),
        ({"batch_size": 12}, "batch_size: 12 is not a multiple of 8"),
        ({"batch_size": 16, "world_size": 3}, "lanes: 8 is not a multiple of 3 = 3 ranks x 1 workers"),
        ({"batch_size": 16, "num_workers": 3}, "lanes: 8 is not a multiple of 3 = 1 ranks x 3 workers"),
        ({"batch_size": 16, "seed": -1}, "seed=-1"),
    ],
)
def test_numbers_that_do_not_divide_are_explained(digits: Manifest, given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        StreamLoader(digits, **given)


def test_a_start_between_lanes_is_refused(digits: Manifest) -> None:
    with pytest.raises(UserError, match="images_seen: 3 is not a multiple of 8"):
        _first(StreamLoader(digits, 16, images_seen=3), 1)


@pytest.mark.parametrize("world_size", [1, 3])
def test_held_out_loaders_give_every_image_once(digits: Manifest, world_size: int) -> None:
    loaders = [HeldOutLoader(digits, "test", 16, rank, world_size) for rank in range(world_size)]
    batches = [list(loader) for loader in loaders]
    assert [len(of_rank) for of_rank in batches] == [len(loader) for loader in loaders]
    positions = torch.cat([batch["position"] for of_rank in batches for batch in of_rank])
    assert sorted(positions.tolist()) == list(range(digits.count("test")))
    assert torch.cat([batch["position"] for batch in batches[-1]]).tolist() == list(loaders[-1].indices)


def test_a_share_reads_only_the_shards_that_it_lies_in(uneven: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Shard] = []

    def spy(manifest: Manifest, shard: Shard) -> list[Sample]:
        read.append(shard)
        return read_shard(manifest, shard)

    monkeypatch.setattr(loader, "read_shard", spy)
    third = HeldOutLoader(uneven, "train", 4, rank=2, world_size=3)
    positions = [place for batch in third for place in batch["position"].tolist()]
    shards, count = uneven.shards("train"), uneven.count("train")
    assert positions == list(range(2 * count // 3, count))
    ends = accumulate(shard.count for shard in shards)
    assert read == [shard for shard, end in zip(shards, ends, strict=True) if end > positions[0]]
    assert 0 < len(read) < len(shards)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_in_parts_is_the_same_batch(digits: Manifest, workers: int) -> None:
    whole = _first(StreamLoader(digits.root, 32, images_seen=64), 2)
    parts = _first(StreamLoader(digits.root, 32, images_seen=64, parts=2, num_workers=workers), 4)
    for k in range(2):
        both = {key: torch.cat([part[key] for part in parts[2 * k : 2 * k + 2]]) for key in whole[k]}
        order = both["position"].argsort()
        assert all(torch.equal(both[key][order], whole[k][key]) for key in both)
    with pytest.raises(UserError, match="accumulate_grad_batches: 3 does not divide 4"):
        next(iter(StreamLoader(digits.root, 32, parts=3)))


def test_the_next_block_is_read_while_one_is_given(uneven: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamLoader(uneven, 4, lanes=2, block=1).stream
    starts = stream.seek(8, range(2))
    read: list[str] = []

    def note(manifest: Manifest, shard: Shard) -> list[Sample]:
        read.append(shard.name)
        return read_shard(manifest, shard)

    monkeypatch.setattr("diffusion_lit.data.stream.read_shard", note)
    pieces = stream.pieces(8, starts)
    alone = [next(pieces)]
    needed = len(read)
    alone += islice(pieces, 39)
    read.clear()
    pieces = stream.pieces(8, starts, ahead=True)
    first = next(pieces)
    until(lambda: len(read) == needed + 2)  # one more for each lane
    for a, b in zip(alone, [first, *islice(pieces, 39)], strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)

    def fail(manifest: Manifest, shard: Shard) -> list[Sample]:
        raise UserError(f"{shard.name} is gone")

    monkeypatch.setattr("diffusion_lit.data.stream.read_shard", fail)
    with pytest.raises(UserError, match="is gone"):  # where it would be read, not where it was tried
        list(islice(pieces, 40))
