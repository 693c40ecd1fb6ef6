"""Checkpoints on a full disk, a loss that is not finite, signals."""

import errno
from pathlib import Path

import pytest
import torch

from diffusion_lit.callbacks import Checkpoints, FiniteLoss, Periodic
from diffusion_lit.callbacks.evaluation import Evaluation
from diffusion_lit.callbacks.every import passed
from diffusion_lit.callbacks.minutes import Minutes
from diffusion_lit.errors import UserError
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def test_checkpoints_are_counted_in_images(root, tmp_path):
    fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=32, keep_every=48)], 7)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "images-000000048.ckpt",
        "images-000000096.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
    for name, seen in {"images-000000048": 48, "images-000000096": 96, "previous": 96, "last": 112}.items():
        found = torch.load(tmp_path / "c" / f"{name}.ckpt", weights_only=True)
        assert (found["diffusion_lit"]["images_seen"], found["diffusion_lit"]["format"]) == (seen, 1)
    saved = torch.load(tmp_path / "c" / "last.ckpt", weights_only=True)
    assert saved["diffusion_lit"]["images_seen"] == 7 * 16


def test_old_ones_are_pruned_and_halves_of_a_killed_attempt_removed(root, tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / ".last.ckpt.123.part").write_text("half")
    fit(tmp_path, root, make_module(), [Checkpoints(str(folder), every=1000, keep_every=16, keep=2)], 5)
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["images-000000064.ckpt", "images-000000080.ckpt", "last.ckpt", "previous.ckpt"]


def test_minutes_save_as_well_as_images(root, tmp_path, monkeypatch):
    now = iter(range(0, 100_000, 20))  # each look at the clock is 20 seconds after the one before
    monkeypatch.setattr("diffusion_lit.callbacks.minutes.time.monotonic", lambda: float(next(now)))
    saved = []
    checkpoints = Checkpoints(str(tmp_path / "c"), every=10_000, minutes=1.0)
    save = checkpoints.save_last
    monkeypatch.setattr(checkpoints, "save_last", lambda trainer, seen: (saved.append(seen), save(trainer, seen)))
    fit(tmp_path, root, make_module(), [checkpoints], 10)
    assert saved == [48, 96, 144, 160]  # every third step, and the end


def test_the_clock_is_asked_seldom(monkeypatch):
    """Steps of 0.1 seconds for 15 minutes: some twenty questions, and the answer comes within a step."""
    clock = {"now": 0.0}
    monkeypatch.setattr("diffusion_lit.callbacks.minutes.time.monotonic", lambda: clock["now"])
    asked = []
    minutes = Minutes(15.0)
    while clock["now"] < 1000:
        clock["now"] += 0.1
        if minutes.passed(lambda value: asked.append(value) or value):
            break
    assert clock["now"] == pytest.approx(900, abs=0.11)
    assert len(asked) < 30


class Scores:
    """An evaluator with given numbers."""

    def __init__(self, numbers: list[float]):
        self.numbers = iter(numbers)

    def __call__(self, denoiser, data, share, weights):
        return Evaluation({"restoration/box/dps/raw/psnr": next(self.numbers)})


def test_the_best_is_kept_by_its_metric(root, tmp_path):
    periodic = Periodic(Scores([3.0, 7.0, 5.0, 7.0]), str(tmp_path), every=32)
    checkpoints = Checkpoints(str(tmp_path / "c"), every=1000, best="restoration/box/dps/raw/psnr")
    fit(tmp_path, root, make_module(), [periodic, checkpoints], 8)
    best = torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)
    assert best["diffusion_lit"]["images_seen"] == 64
    [state] = [value for key, value in best["callbacks"].items() if key.startswith("Checkpoints")]
    assert state == {"best_value": 7.0}


def test_a_full_disk_is_told_and_tried_again_and_the_last_checkpoint_stays_whole(root, tmp_path, monkeypatch):
    last = tmp_path / "c" / "last.ckpt"
    fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=16)], 1)
    before = last.read_bytes()
    save, tries = torch.save, []

    def full(content, file, *args, **more):
        save(content, file, *args, **more)  # some of it is written ...
        tries.append(content["diffusion_lit"]["images_seen"])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with (
        pytest.warns(UserWarning, match=r"last\.ckpt.*No space left.*Training goes on"),
        pytest.raises(UserError, match=r"last\.ckpt.*No space left"),  # the end is not passed over
    ):
        fit(tmp_path, root, make_module(), [Checkpoints(str(tmp_path / "c"), every=16)], 2)
    assert tries == [16, 32, 32]
    assert last.read_bytes() == before
    assert [p.name for p in last.parent.iterdir()] == ["last.ckpt"]


def test_a_save_that_failed_on_the_first_process_is_tried_again_by_all(root, tmp_path, monkeypatch):
    """Or the others would take it for done, and not take part in the next one."""
    from lightning.pytorch.strategies import SingleDeviceStrategy

    monkeypatch.setattr(SingleDeviceStrategy, "broadcast", lambda self, told, src=0: told is not True and told)
    checkpoints = Checkpoints(str(tmp_path / "c"), every=16, keep_every=16)
    tries = []
    monkeypatch.setattr(checkpoints, "on_save_checkpoint", lambda trainer, *_: tries.append(trainer.global_step))
    fit(tmp_path, root, make_module(), [checkpoints], 2)
    assert tries == [1, 2, 2]
    assert not list((tmp_path / "c").glob("images-*"))


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
