"""`train -m hydra/launcher=submitit` on a real SLURM."""

import os
import subprocess
import sys

import pytest

from diffusion_lit import checkpoint
from tests.commands.small import SMALL

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install diffusion_lit[submitit]")


def test_a_sweep_is_an_array_whose_end_is_waited_for(slurm, shards, tmp_path):
    words = ["callbacks=minimal", "max_images=64", f"paths.data={shards}", "seed=0,1"]
    launcher = ["hydra/launcher=submitit", "hydra.launcher.cpus_per_task=1"]
    done = subprocess.run(
        [sys.executable, "-m", "diffusion_lit.cli", "train", "-m", *SMALL, *words, *launcher],
        cwd=tmp_path,
        env=slurm.env | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [path.parent for path in tmp_path.glob("runs/*/run.json")]
    assert len(runs) == 2
    for run in runs:
        assert checkpoint.read(checkpoint.locate(run))["diffusion_lit"]["images_seen"] == 64
    [script] = tmp_path.glob("runs/sweeps/*/.submitit/*/*_submission.sh")
    assert "#SBATCH --array=0-1" in script.read_text()
