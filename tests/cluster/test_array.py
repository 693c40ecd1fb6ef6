"""Trainings that are submitted to a real SLURM: on two nodes, and as an array."""

import os
import sys
from pathlib import Path

import pytest

from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read
from tests.commands.small import SMALL

HERE = f"cluster.setup=['export PATH={Path(sys.executable).parent}:$PATH']"
TRAIN = ["submit", *SMALL, "callbacks=minimal", "max_images=128", "cluster.cpus=1", HERE]


@pytest.fixture
def submitted(slurm, shards, tmp_path, monkeypatch, capsys):
    """Submit in a folder of its own; return the ids of the jobs."""
    monkeypatch.chdir(tmp_path)
    for key, value in slurm.env.items():
        monkeypatch.setenv(key, value)

    def submit(*words: str) -> list[str]:
        assert main([*TRAIN, f"paths.data={shards}", *words]) == 0
        return [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0].isdigit()]

    return submit


def runs() -> list[Path]:
    return sorted(path.parent for path in Path("runs").glob("*/run.json"))


def assert_finished(run: Path) -> None:
    assert checkpoint.read(checkpoint.locate(run))["diffusion_lit"]["images_seen"] == 128
    assert [line["images_seen"] for line in read(run / "metrics.jsonl") if "train/loss" in line] == [32, 64, 96, 128]


def test_a_training_on_two_nodes_has_one_run_folder(slurm, submitted):
    [job] = submitted("cluster.nodes=2")
    [record] = slurm.wait(job, "COMPLETED", deadline=180)
    assert record["NumNodes"] == "2"
    [run] = runs()
    assert_finished(run)
    assert "num_nodes: 2" in (run / "config.yaml").read_text()


def test_an_array_gives_runs_of_their_own_and_one_page(slurm, submitted):
    array, page = submitted("seed=0,1", "then=compare")
    assert len(slurm.wait(array, "COMPLETED", deadline=240)) == 2
    slurm.wait(page, "COMPLETED", deadline=120)
    assert len(runs()) == 2
    for run in runs():
        assert_finished(run)
    [html] = Path("runs/slurm").glob("small-*.html")
    assert all(run.name in html.read_text() for run in runs())


@pytest.mark.slow
def test_an_array_of_four_gives_one_table(slurm, submitted, capsys):
    [array] = submitted("seed=0,1", "model.optimizer.lr=1e-3,1e-2", "cluster.parallel=2")
    assert len(slurm.wait(array, "COMPLETED", deadline=400)) == 4
    assert len(runs()) == 4
    for run in runs():
        assert_finished(run)
    [listed] = Path("runs/slurm").glob("small-*.tsv")
    folders = [line.split("\t")[1] for line in listed.read_text().splitlines()]
    capsys.readouterr()
    assert main(["compare", *folders, f"out={os.devnull}"]) == 0
    table = capsys.readouterr().out
    assert "0.001" in table
    assert "0.01" in table
