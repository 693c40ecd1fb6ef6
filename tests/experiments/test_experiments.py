"""Every experiment has a tiny twin that runs; committed numbers are complete, fresh and checked."""

import json
from pathlib import Path

import pytest

from diffusion_lit.commands.reproduce import run
from diffusion_lit.reproduction import Experiment, Results
from diffusion_lit.reproduction.paper import MISSING

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "experiments").glob("*/experiment.yaml"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Where the first of them packs what all of them read."""
    return tmp_path_factory.mktemp("shards")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_tiny_twin(folder, shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").symlink_to(shards)
    (tmp_path / "experiments").symlink_to(folder.parent)
    assert run([folder.name, "--tiny"]) == 0
    out = tmp_path / "runs" / "experiments" / f"{folder.name}-tiny"
    assert MISSING not in (out / "table.md").read_text(), "a cell of the tables was not measured"
    assert json.loads((out / "ledger.json").read_text())


@pytest.mark.parametrize("folder", [f for f in FOLDERS if (f / "results.jsonl").exists()], ids=lambda f: f.name)
def test_committed_numbers(folder):
    experiment = Experiment.read(folder)
    results = Results(experiment.entries(), Results.read(folder / "results.jsonl"), experiment.axes)
    assert not results.missing
    assert not results.stale
    for row in json.loads((folder / "ledger.json").read_text()):
        assert row["holds"] or row["reason"], row["name"]
    assert (folder / "README.md").exists()
    for name in ("table.md", "table.tex", "table.html"):
        assert (folder / name).exists()
