"""A training on two nodes of a real SLURM is preempted twice, loses a process and a node, and ends as if left alone."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read
from tests.commands.small import LIGHTNING, SMALL

HERE = f"cluster.setup=['export PATH={Path(sys.executable).parent}:$PATH']"
TRAIN = [*SMALL, "callbacks=minimal", "logger=default", "callbacks.log.every=160", "callbacks.checkpoint.every=320"]
IMAGES = 32_000

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def attempts(run: Path) -> list[dict]:
    path = run / "run.json"
    return json.loads(path.read_text())["attempts"] if path.exists() else []


def lines(run: Path) -> int:
    return len(read(run / "metrics.jsonl"))


def a_task(run: Path) -> int:
    """The process id of one of the run's tasks: all nodes are this machine."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_text().split("\0")
        except OSError:
            continue
        if "train" in words and any(run.name in word for word in words) and "srun" not in words[0]:
            return int(place.parent.name)
    raise AssertionError("no task of the run is found")


@pytest.mark.slow
def test_preempted_twice_a_node_lost_a_process_killed(slurm, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for key, value in slurm.env.items():
        monkeypatch.setenv(key, value)
    words = [*TRAIN, f"max_images={IMAGES}", f"paths.data={shards}"]
    assert main(["submit", *words, "cluster.cpus=1", "cluster.nodes=2", HERE, "paths.run=runs/preempted"]) == 0
    job = re.search(r"^(\d+) ", capsys.readouterr().out, re.M)
    assert job is not None
    run = tmp_path / "runs" / "preempted"

    def trains(attempt: int) -> bool:
        return (
            len(attempts(run)) == attempt and attempts(run)[-1]["images_seen"] > attempts(run)[-1]["from_images_seen"]
        )

    slurm.until(lambda: trains(1), deadline=120)
    slurm.signal(job[1], "USR1")  # what --signal=USR1@120 sends before the time is over
    slurm.until(lambda: trains(2), deadline=120)
    slurm.requeue(job[1])  # what a scheduler that preempts does: SIGTERM, then the queue
    slurm.until(lambda: trains(3), deadline=120)
    os.kill(a_task(run), signal.SIGKILL)
    slurm.until(lambda: trains(4), deadline=120)
    slurm.lose("n2")
    slurm.restore("n2")
    slurm.until(lambda: len(attempts(run)) == 5, deadline=200)
    slurm.wait(job[1], "COMPLETED", deadline=400, restarts=4)

    alone = tmp_path / "alone"
    assert main(["train", *words, "logger=none", f"paths.run={alone}"]) == 0
    one, two = ([line for line in read(folder / "metrics.jsonl") if "train/loss" in line] for folder in (alone, run))
    for key in ("images_seen", "train/images_digest"):  # a curve without gap or overlap, of the same images
        assert [line[key] for line in two] == [line[key] for line in one]
    assert checkpoint.read(checkpoint.locate(run))["diffusion_lit"]["images_seen"] == IMAGES
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != "slurm"] == ["preempted"]
    found = attempts(run)
    assert found[0]["ended"] == "SIGUSR1"
    assert found[-1]["ended"] == "finished"
    assert [line["attempt"] for line in read(run / "metrics.jsonl") if "attempt" in line] == [1, 2, 3, 4, 5]
    identity = json.loads((run / "run.json").read_text())["identity"]
    files = list((run / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {re.sub(r"run-(.*)\.wandb", r"\1", file.name) for file in files} == {identity}, "one run of W&B"
