"""The short version of experiments/streaming_scale."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "streaming_scale" / "bench.py"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    spec = spec_from_file_location("streaming_scale_bench", SCRIPT)
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DISTINCT", 4_000)
    return module


def test_memory_is_flat(bench, tmp_path: Path) -> None:
    found = bench.streaming(tmp_path, 40_000, 0)
    assert found["peak"] - found["tenth"] < 3e6  # keeping what was given would add 8 MB


def test_a_start_reads_no_shard(bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("diffusion_lit.data.shards.open_shard", lambda place, *_: opened.append(place))
    assert bench.starting(tmp_path / "made", 1_000, uneven=True)["all"] > 0
    assert not opened
