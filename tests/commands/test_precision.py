"""bfloat16, as far as a CPU has it: what is trained, what is averaged."""

import pytest
import torch

import diffusion_lit
from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read
from tests.commands.small import LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def losses(folder) -> list[float]:
    return [line["train/loss"] for line in read(folder / "metrics.jsonl") if "train/loss" in line]


def test_bf16_weights_have_averages_in_float32(shards, tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    words = ["train", *SMALL, "callbacks=minimal", f"paths.data={shards}", "max_images=128"]
    assert main([*words, f"paths.run={plain}"]) == 0
    assert main([*words, f"paths.run={other}", "trainer.precision=bf16-true"]) == 0
    one, two = (checkpoint.read(checkpoint.locate(folder)) for folder in (plain, other))
    assert {weight.dtype for weight in two["state_dict"].values() if weight.is_floating_point()} == {torch.bfloat16}
    assert {weight.dtype for average in two["ema"].values() for weight in average.values()} == {torch.float32}
    assert one["state_dict"].keys() == two["state_dict"].keys()
    assert losses(other) == pytest.approx(losses(plain), rel=0.02)
    average = two["ema"][0.05]
    moved = [bool((average[name].bfloat16().float() != average[name]).any()) for name in average]
    assert any(moved), "averages are finer than bfloat16"
    assert diffusion_lit.load(other)(torch.zeros(1, 1, 8, 8), torch.tensor(0.5)).mean.dtype == torch.float32
