"""Checkpoints on a full disk, a loss that is not finite, signals."""

import errno
from pathlib import Path

import pytest
import torch

from diffusion_lit.callbacks import Checkpoints, FiniteLoss
from diffusion_lit.callbacks.every import passed
from diffusion_lit.errors import UserError
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def test_checkpoints_are_counted_in_images(root, tmp_path):
    fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=32, keep_every=48)], 7)
    assert {p.name for p in (tmp_path / "c").iterdir()} == {
        "last.ckpt",
        "images-000000048.ckpt",
        "images-000000096.ckpt",
    }
    saved = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
    assert saved["diffusion_lit"]["images_seen"] == 7 * 16


def test_a_full_disk_leaves_the_last_checkpoint_whole(root, tmp_path, monkeypatch):
    last = tmp_path / "c" / "last.ckpt"
    fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=16)], 1)
    before = last.read_bytes()
    save = torch.save

    def full(content, file, *args, **more):
        save(content, file, *args, **more)  # some of it is written ...
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last\.ckpt.*No space left"):
        fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=16)], 2)
    assert last.read_bytes() == before
    assert [p.name for p in last.parent.iterdir()] == ["last.ckpt"]


def test_a_loss_that_is_not_finite_stops_and_can_be_replayed(root, tmp_path):
    module = make_module(seed=3)
    objective = module.objective
    spoiled = 20 * 16  # position of the image whose loss is spoiled

    def spoil(denoiser, x_0, *, seed, positions, **condition):
        losses = objective(denoiser, x_0, seed=seed, positions=positions, **condition)
        return torch.where(positions == spoiled, torch.nan, losses)

    spoil.times = objective.times
    module.objective = spoil
    callbacks = [Checkpoints(str(tmp_path / "c"), every=64), FiniteLoss(str(tmp_path))]
    with pytest.raises(UserError, match=r"nan after 320 images.*nonfinite-000000320") as caught:
        fit(tmp_path, root, module, callbacks, 30)
    assert "\n" not in str(caught.value)
    replay = torch.load(tmp_path / "nonfinite-000000320-rank0.pt", weights_only=True)
    assert replay["batch"]["position"].tolist() == list(range(320, 336))

    other = make_module(seed=replay["seed"])
    other.load_state_dict(replay["state_dict"])
    losses = other.losses(replay["batch"])
    again = module.losses(replay["batch"])
    assert losses.isfinite().all()
    assert torch.equal(losses[1:], again[1:])
    assert again[0].isnan()
    by_hand = other.objective.loss_at(
        other.denoiser,
        replay["batch"]["image"],
        replay["times"],
        seed=replay["seed"],
        positions=replay["batch"]["position"],
    )
    torch.testing.assert_close(by_hand, losses)
    assert torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)["diffusion_lit"]["images_seen"] == 320


@pytest.mark.parametrize("batch", [16, 48, 100])
def test_each_multiple_is_passed_once(batch):
    seen = [n for n in range(batch, 2000, batch) if passed(100, n, batch)]
    assert len(seen) == len({n // 100 for n in range(batch, 2000, batch)} - {0})
    assert not passed(None, 100, 100)


def test_the_files_that_shall_stay_small_do():
    package = Path(__file__).parents[2] / "diffusion_lit"
    assert len((package / "commands" / "train.py").read_text().splitlines()) <= 80
    lines = (package / "modules" / "diffusion.py").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if "def training_step" in line)
    body = [line for line in lines[start + 1 :]]
    length = next((i for i, line in enumerate(body) if line.startswith("    def ")), len(body))
    assert length <= 15
