"""A short turn of `make torture`: what is written, torn or shared out anew ends as if it had been left alone."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def call(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_three_kills_three_recoveries(tmp_path):
    told = call("tests.cluster.torture", "--kills", "3", "--folder", str(tmp_path))
    assert "1 killed while writing, 1 disk full, 1 checkpoint torn" in told
    assert "3 recoveries: weights, averages and optimiser are bit-identical" in told


def test_the_number_of_processes_may_change(tmp_path):
    told = call("tests.cluster.elastic", "--worlds", "1", "2-sharded", "1-compiled", "--folder", str(tmp_path))
    assert "1 -> 2-sharded -> 1-compiled processes" in told
    assert "digests of the global batches equal" in told
