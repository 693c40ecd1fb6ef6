"""`diffusion-lit ema` on a small run: a width that was tracked comes back, and others can be saved and loaded."""

import json
from xml.etree import ElementTree

import pytest
import torch

import diffusion_lit
from diffusion_lit.cli import main
from diffusion_lit.commands.ema import run
from diffusion_lit.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("posthoc") / "run"
    words = ["experiment=toy", "callbacks=posthoc", "max_images=20480", "every.evaluation=1024", f"paths.run={folder}"]
    assert main(["train", *words, "model.denoiser.network.width=16"]) == 0
    return folder


def test_widths_are_found_shown_and_saved(folder, capsys):
    assert run([str(folder), "width=0.1,0.15", "save=true"]) == 0
    assert "width" in capsys.readouterr().out
    found = json.loads((folder / "ema.json").read_text())
    assert found["0.1"]["profile error"] < 1e-6 < found["0.15"]["profile error"] < 0.05
    ElementTree.parse(folder / "ema" / "validation-loss-ema.svg")  # well formed, so it can stand by itself
    path = folder / "checkpoints" / "posthoc.ckpt"
    tracked = diffusion_lit.load(folder, ema=0.1).state_dict()
    saved = diffusion_lit.load(path, ema=0.1).state_dict()
    for name, weight in tracked.items():  # float32 sums of forty averages, whose coefficients are nearly one-hot
        assert torch.allclose(weight, saved[name], atol=1e-4), name
    other = diffusion_lit.load(path, ema=0.15).state_dict()
    assert any(not torch.allclose(tracked[name], other[name], atol=1e-4) for name in tracked)


def test_mistakes_are_named(folder, tmp_path):
    for words, message in (
        ([str(folder), "width=wide"], "width=wide"),
        ([str(folder), "width=0.5"], r"0\.5 is not in"),
        ([str(folder), "metric=beauty"], "beauty.*loss"),
        ([str(folder), "save=perhaps"], "one run folder"),
        ([str(tmp_path)], "no snapshots"),
        ([], "one run folder"),
    ):
        with pytest.raises(UserError, match=message):
            run(words)
