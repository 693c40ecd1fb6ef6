"""Several processes (gloo) against one: the same stream, the same training, the same evaluation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.data import StreamLoader
from diffusion_lit.tracking.lines import read, without_times
from tests.commands.small import EVALUATED, LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)

# shares that are not equal, so that a mean of means or a forgotten remainder shows; two of four restore nothing
UNEVEN = [
    "evaluation.loss.evaluator.n=15",
    "evaluation.generation.evaluator.n=33",
    "evaluation.restoration.evaluator.n=2",
]


def run(*words: str) -> None:
    """Run a command whose trainer starts further processes."""
    done = subprocess.run(
        [sys.executable, "-m", "diffusion_lit.cli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def train(shards: Path, folder: Path, *more: str) -> list[str]:
    few = ["max_images=48", "callbacks.log.every=16"]
    return ["train", *SMALL, *EVALUATED, *few, f"paths.data={shards}", f"paths.run={folder}", *more]


def test_the_first_batches_of_the_stream_are_the_same(shards):
    root = shards / "digits"
    one = iter(StreamLoader(root, 16))
    two = [iter(StreamLoader(root, 16, rank=rank, world_size=2)) for rank in range(2)]
    for _ in range(3):
        whole, parts = next(one), [next(part) for part in two]
        for key in ("id", "position", "image"):
            assert torch.equal(torch.cat([part[key] for part in parts]), whole[key])


def test_training_and_evaluation_are_the_same(shards, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(train(shards, one)) == 0
    run(*train(shards, two, "trainer=ddp_sim"))
    losses = [
        [line["train/loss"] for line in read(folder / "metrics.jsonl") if "train/loss" in line] for folder in (one, two)
    ]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)  # of three global batches: the same images and noise
    states = [checkpoint.read(checkpoint.locate(folder)) for folder in (one, two)]
    for name, weight in states[0]["ema"][0.05].items():
        torch.testing.assert_close(states[1]["ema"][0.05][name], weight, rtol=1e-4, atol=1e-5)

    both = copytree(one, tmp_path / "both")
    before = len(read(one / "metrics.jsonl"))
    assert main(["evaluate", f"checkpoint={one}", *UNEVEN]) == 0
    run("evaluate", f"checkpoint={both}", *UNEVEN, "trainer.devices=4", "trainer.strategy=ddp")
    found = []
    for folder in (one, both):
        lines = [without_times(line) for line in read(folder / "metrics.jsonl")[before:]]
        found.append({key: value for line in lines for key, value in line.items()})
    assert set(found[0]) == set(found[1])
    assert len(found[0]) > 30
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    assert (both / "summary.json").exists()

    pictures = sorted(path.relative_to(one) for path in one.rglob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        told = [json.loads((folder / path).with_suffix(".json").read_text()) for folder in (one, both)]
        assert told[0].get("ids") == told[1].get("ids")
        pixels = [np.asarray(Image.open(folder / path), dtype=int) for folder in (one, both)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1, path
