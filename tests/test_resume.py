"""A run goes on from its newest whole checkpoint, and says so if that is not the newest."""

import os
import zipfile
from pathlib import Path

import pytest
import torch

from diffusion_lit import checkpoint
from diffusion_lit.errors import UserError
from diffusion_lit.resume import starting_point
from tests.test_checkpoint import content


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with last.ckpt (96 images), previous.ckpt (64) and one that was kept (32)."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, seen in {"last": 96, "previous": 64, "images-000000032": 32}.items():
        torch.save(content(diffusion_lit={"images_seen": seen}), folder / f"{name}.ckpt")
    return tmp_path


def images_seen(run: Path) -> int:
    found = starting_point("auto", run)
    assert found is not None
    assert checkpoint.read(found[0])["diffusion_lit"] == found[1]["diffusion_lit"]
    return found[1]["diffusion_lit"]["images_seen"]


def spoil(path: Path) -> None:
    """Change one bit of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
        entry = max(tensors, key=lambda entry: entry.file_size)
        payload = archive.read(entry)
    raw = bytearray(path.read_bytes())
    raw[raw.index(payload) + len(payload) // 2] ^= 1
    path.write_bytes(raw)


def test_the_newest_is_taken(run):
    assert images_seen(run) == 96
    assert starting_point("auto", run / "nothing") is None


@pytest.mark.parametrize(
    "damage", [spoil, lambda p: os.truncate(p, p.stat().st_size // 2), lambda p: os.truncate(p, 0)]
)
def test_a_damaged_one_is_told_put_aside_and_passed_over(run, damage, capsys):
    damage(run / "checkpoints" / "last.ckpt")
    assert images_seen(run) == 64
    told = capsys.readouterr().err
    assert "last.ckpt: is damaged" in told
    assert "goes on from previous.ckpt" in told
    assert (run / "checkpoints" / "last.ckpt.damaged").exists()
    assert not (run / "checkpoints" / "last.ckpt").exists()  # or the next save would put it in the whole one's place
    spoil(run / "checkpoints" / "previous.ckpt")
    assert images_seen(run) == 32


def test_a_torch_that_looks_at_no_checksum_is_not_trusted(run):
    path = run / "checkpoints" / "last.ckpt"
    spoil(path)
    torch.load(path, weights_only=True)
    with pytest.raises(UserError, match=r"checksum of .*data/\d+ differs"):
        checkpoint.read(path)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_anew(run):
    for path in (run / "checkpoints").iterdir():
        os.truncate(path, 100)
    with pytest.raises(UserError, match=r"none of its checkpoints can be read.*last\.ckpt.*previous\.ckpt.*images-0"):
        starting_point("auto", run)
    assert len(list((run / "checkpoints").iterdir())) == 3


def test_a_run_that_nobody_asked_to_continue_is_left_alone(run):
    with pytest.raises(UserError, match="holds a run already; resume=auto"):
        starting_point(None, run)
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match="holds a run already"):
        starting_point(None, run)
    assert starting_point(str(run), run)[1]["diffusion_lit"]["images_seen"] == 64


def test_a_checkpoint_of_a_later_version_is_refused(run):
    path = run / "checkpoints" / "last.ckpt"
    torch.save(content(diffusion_lit={"images_seen": 96, "format": checkpoint.FORMAT + 1, "version": "9.0"}), path)
    with pytest.raises(UserError, match=r"written by diffusion_lit 9\.0 in format 2; this one reads formats up to 1"):
        checkpoint.read(path)
