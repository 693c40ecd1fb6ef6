"""Shards come from folders, servers and commands; what is damaged on its way is fetched again before it is an error."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from diffusion_lit.data import Manifest, ShardsDataModule, arrival
from diffusion_lit.errors import UserError
from tests.data.server import HASTE, Server, serving

SHARD = "train-000003.tar"


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion_lit.data.fetch.PATIENCE", HASTE)
    monkeypatch.setattr("diffusion_lit.data.arrival.PATIENCE", HASTE)


@pytest.fixture
def server(digits: Manifest) -> Iterator[Server]:
    with serving(Path(digits.root)) as server:
        yield server


def _pass(data: ShardsDataModule) -> list[int]:
    """Ids of a pass of the stream, two batches more than which are read."""
    batches = islice(data.train_dataloader(), data.manifest.count("train") // data.batch_size + 3)
    return torch.cat([batch["id"] for batch in batches]).tolist()


def test_a_server_that_misbehaves_gives_the_same_stream(digits: Manifest, server: Server) -> None:
    server.faults["manifest.json"].extend([503, ("drop", 50)])
    server.faults[SHARD].extend([503, ("drop", 20_000), ("stall", 10_000)])
    assert _pass(ShardsDataModule(server.url, 16)) == _pass(ShardsDataModule(digits.root, 16))
    assert server.requests[SHARD] >= 4
    assert server.ranges[: server.requests["manifest.json"]] == [None, None, "bytes=50-"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_with_a_cache_every_shard_is_fetched_once(
    digits: Manifest, server: Server, tmp_path: Path, workers: int
) -> None:
    told = {"num_workers": workers, "start_method": "fork", "cache": str(tmp_path)}
    for _ in range(2):
        assert _pass(ShardsDataModule(server.url, 16, **told)) == _pass(ShardsDataModule(digits.root, 16))
    assert {name: n for name, n in server.requests.items() if name != "manifest.json"} == {
        shard.name: 1 for shard in digits.shards("train")
    }


def test_a_damaged_arrival_is_fetched_again_and_then_named(digits: Manifest, server: Server, tmp_path: Path) -> None:
    content = bytearray((Path(digits.root) / SHARD).read_bytes())
    content[700] ^= 1
    server.faults[SHARD].extend([("other", bytes(content))] * 2)
    assert _pass(ShardsDataModule(server.url, 16)) == _pass(ShardsDataModule(digits.root, 16))
    server.faults[SHARD].extend([("other", bytes(content)), "for ever"])
    for cache in (None, str(tmp_path)):
        with pytest.raises(
            UserError, match=rf"^{server.url}/{SHARD}: the shard is truncated or damaged there.*3 times"
        ):
            _pass(ShardsDataModule(server.url, 16, cache=cache))
    with pytest.raises(UserError, match=rf"{SHARD}: the shard is truncated or damaged there"):
        Manifest.read(server.url).verify()


def test_a_file_damaged_in_the_cache_is_fetched_again(digits: Manifest, server: Server, tmp_path: Path) -> None:
    data = ShardsDataModule(server.url, 16, cache=str(tmp_path))
    before = _pass(data)
    shard = digits.shards("train")[3]
    cached = tmp_path / f"{shard.sha256}.tar"
    cached.write_bytes(bytes(shard.bytes))
    assert _pass(data) == before
    assert server.requests[SHARD] == 2


def test_a_cache_that_is_too_small_is_read_past(digits: Manifest, server: Server, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"cache: no room for .* more than cache_gib=1e-05"):
        ids = _pass(ShardsDataModule(server.url, 16, cache=str(tmp_path), cache_gib=1e-5))
    assert ids == _pass(ShardsDataModule(digits.root, 16))


def test_a_server_that_stays_down_is_named_with_what_to_do(server: Server) -> None:
    data = ShardsDataModule(server.url, 16)
    data.setup()
    server.faults[SHARD].extend([503, "for ever"])
    with pytest.raises(UserError, match=rf"^{server.url}/{SHARD}: given up after 4 requests.*start again"):
        _pass(data)
    with pytest.raises(UserError, match=r"/nowhere/manifest.json: status 404"):
        Manifest.read(f"{server.url}/nowhere")


def test_a_command_that_fails_is_run_again_and_then_named(digits: Manifest, tmp_path: Path) -> None:
    once, shard = tmp_path / "once", digits.shards("train")[3]
    path = Path(digits.root) / shard.name
    flaky = f"pipe:if [ -e {once} ]; then cat {path}; else touch {once}; head -c 9000 {path}; exit 3; fi"
    with arrival.open_shard(flaky, shard.bytes, shard.sha256, None) as stream:
        assert stream.read() == path.read_bytes()
    assert once.exists()
    with pytest.raises(UserError, match=r"^pipe:false .*exit 1.*fetched 3 times"):
        arrival.open_shard("pipe:false shard", 1, "0" * 64, None)
