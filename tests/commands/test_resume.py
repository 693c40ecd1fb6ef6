"""A run that is stopped and goes on equals one that was never disturbed, bit by bit; tests/cluster kills runs."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read, without_times
from diffusion_lit.tracking.record import RunRecord
from tests.commands.small import LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)

# evaluations that cost little, dropout that draws from the global generator, and an image count that ends in mid-log
RUN = [
    "train",
    *SMALL,
    "+model.denoiser.network.dropout=0.2",
    "callbacks.noise_levels.every=96",
    "callbacks.noise_levels.evaluator.n=8",
    "callbacks.samples.every=1_000_000",
    "callbacks.restoration.every=1_000_000",
    "callbacks.log.every=48",
    "max_images=400",
]


def command(shards: Path, folder: Path, *more: str) -> list[str]:
    return [*RUN, f"paths.data={shards}", f"paths.run={folder}", *more]


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(command(shards, folder)) == 0
    return folder


def assert_same(one: Any, two: Any, place: str = "") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), place
    elif isinstance(one, dict):
        assert list(one) == list(two), place
        for key, value in one.items():
            assert_same(value, two[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), place
        for i, (a, b) in enumerate(zip(one, two)):
            assert_same(a, b, f"{place}[{i}]")
    else:
        assert one == two, place


def assert_same_runs(whole: Path, resumed: Path) -> None:
    one, two = (checkpoint.read(checkpoint.locate(folder)) for folder in (whole, resumed))
    for key in (
        "state_dict",
        "ema",
        "optimizer_states",
        "lr_schedulers",
        "callbacks",
        "training_log",
        "diffusion_lit",
        "global_step",
    ):
        assert_same(one[key], two[key], key)
    lines = [
        [without_times(line) for line in read(folder / "metrics.jsonl") if "attempt" not in line]
        for folder in (whole, resumed)
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) > 8


class _Signal(Callback):
    """Send a signal to this process in the middle of a step."""

    def __init__(self, step: int):
        self.step = step

    def on_before_backward(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_finishes_the_step_saves_and_the_run_goes_on_exactly(whole, shards, tmp_path, monkeypatch, capsys):
    from diffusion_lit.commands import build

    make = build.build_trainer
    words = command(shards, tmp_path / "stopped")
    with monkeypatch.context() as patch:
        patch.setattr(build, "build_trainer", lambda c, cb, **more: make(c, cb | {"kill": _Signal(12)}, **more))
        assert main(words) == 128 + signal.SIGTERM
    assert "resume=auto" in capsys.readouterr().out
    saved = checkpoint.read(checkpoint.locate(tmp_path / "stopped"))
    assert (saved["global_step"], saved["diffusion_lit"]["images_seen"]) == (13, 208)  # no multiple of any period
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert RunRecord(tmp_path / "stopped").run["attempts"][0]["ended"] == "SIGTERM"
    assert main([*words, "resume=auto"]) == 0
    assert_same_runs(whole, tmp_path / "stopped")


def test_resume_auto_starts_a_run_that_was_never_started(whole, shards, tmp_path):
    assert main(command(shards, tmp_path / "new", "resume=auto")) == 0
    assert_same_runs(whole, tmp_path / "new")


@pytest.mark.parametrize("words", [["data.num_workers=2"]])
def test_workers_change_nothing(whole, shards, tmp_path, words):
    assert main(command(shards, tmp_path / "workers", *words)) == 0
    assert_same_runs(whole, tmp_path / "workers")
