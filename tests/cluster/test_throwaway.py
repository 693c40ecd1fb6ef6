"""The throwaway cluster does what a real one does, where the other tests rely on it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.throwaway.cluster import NODES, Throwaway, ThrowawayError

ROOT = Path(__file__).parents[2]


def script(folder: Path, *lines: str, options: str = "") -> Path:
    path = folder / "job.sbatch"
    text = ["#!/bin/bash", f"#SBATCH --output={folder}/out-%a.txt --open-mode=append --requeue {options}", *lines]
    path.write_text("\n".join(text) + "\n")
    return path


def test_a_step_on_two_nodes(slurm, tmp_path):
    job = slurm.sbatch(
        script(tmp_path, "srun bash -c 'echo $SLURMD_NODENAME $MASTER_ADDR' > " + str(tmp_path / "who")),
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=8",
    )
    slurm.wait(job, "COMPLETED", deadline=20)
    assert sorted((tmp_path / "who").read_text().splitlines()) == [f"{node} 127.0.0.1" for node in NODES]


def test_an_array_and_what_sacct_tells_of_it(slurm, tmp_path):
    job = slurm.sbatch(script(tmp_path, 'test "$SLURM_ARRAY_TASK_ID" != 1'), "--array=0-2%2")
    assert len(slurm.wait(job, "COMPLETED", "FAILED", deadline=20)) == 3
    lines = slurm.call("sacct", "-o", "JobID,State,NodeList", "--parsable2", "-j", job).splitlines()
    assert lines[0] == "JobID|State|NodeList"
    told = {line.split("|")[0]: line.split("|")[1] for line in lines[1:]}
    assert told == {f"{job}_0": "COMPLETED", f"{job}_1": "FAILED", f"{job}_2": "COMPLETED"}


def test_a_signal_reaches_the_tasks_and_a_requeued_job_starts_again(slurm, tmp_path):
    task = tmp_path / "task.py"
    task.write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('signalled', flush=True))\n"
        "print('started', flush=True)\n"
        "while True: time.sleep(0.1)\n"
    )
    job = slurm.sbatch(script(tmp_path, f"srun {sys.executable} {task}", options="--output=" + str(tmp_path / "said")))
    said = tmp_path / "said"
    slurm.wait(job, "RUNNING", deadline=20)
    slurm.until(lambda: said.exists() and "started" in said.read_text(), deadline=20)
    slurm.signal(job, "USR1")
    slurm.until(lambda: "signalled" in said.read_text(), deadline=20)
    slurm.requeue(job)
    slurm.wait(job, "RUNNING", deadline=30, restarts=1)
    slurm.until(lambda: said.read_text().count("started") == 2, deadline=20)


def test_a_lost_node_requeues_its_job(slurm, tmp_path):
    job = slurm.sbatch(script(tmp_path, "srun sleep 60"), "--nodes=2", "--ntasks-per-node=1")
    slurm.wait(job, "RUNNING", deadline=20)
    slurm.lose("n2")
    slurm.wait(job, "PENDING", deadline=20, restarts=1)
    slurm.restore("n2")
    slurm.wait(job, "RUNNING", deadline=30, restarts=1)


def test_two_stand_side_by_side(slurm, tmp_path_factory):
    other = Throwaway(tmp_path_factory.mktemp("other"), owned=True)
    try:
        other.up()
        assert other.states() == slurm.cluster.states() == ["idle", "idle"]
        with pytest.raises(ThrowawayError, match="is up already"):
            other.up()
    finally:
        other.down()
    assert other.states() == []
    assert slurm.cluster.states() == ["idle", "idle"]


def test_the_daemons_end_with_their_owner(slurm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("owned")
    code = (
        "import os, sys; from pathlib import Path; from slurm.throwaway.cluster import Throwaway\n"
        "Throwaway(Path(sys.argv[1]), owned=True).up(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, timeout=60)
    assert done.returncode == -9
    assert set(json.loads((folder / "daemons.json").read_text())) == {"slurmctld", "slurmd.n1", "slurmd.n2"}
    slurm.until(lambda: not Throwaway(folder).alive(), deadline=10)


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path):
    with pytest.raises(ThrowawayError, match="too long"):
        Throwaway(tmp_path / ("deep" * 20)).up()
