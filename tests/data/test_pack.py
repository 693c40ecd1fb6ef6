"""Packing is deterministic, all or nothing, and refuses bad images by name."""

import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_lit.data import Manifest, ShardsDataModule, pack
from diffusion_lit.data.sources import sources
from diffusion_lit.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty colour images of 5 x 7 pixels in two classes."""
    generator = np.random.default_rng(0)
    for i in range(40):
        file = tmp_path / "images" / "ab"[i % 2] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)).save(file)
    return tmp_path / "images"


def _bytes(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_pixels_labels_and_ids_come_back(folder: Path, tmp_path: Path) -> None:
    manifest = pack("image_folder", tmp_path / "out", shards=3, progress=False, path=folder)
    assert (manifest.shape, manifest.classes) == ((3, 5, 7), 2)
    data = ShardsDataModule(str(tmp_path / "out"), 3, lanes=3)
    for split in manifest.splits:
        items = {item.id: item for item in sources["image_folder"](str(folder)) if item.split == split}
        held = data.held_out(split)
        assert held["id"].tolist() == sorted(items)
        for image, label, i in zip(held["image"], held["label"].tolist(), held["id"].tolist()):
            pixels = ((image.permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)
            np.testing.assert_array_equal(pixels, items[i].load())
            assert label == items[i].label


def test_the_bytes_are_a_function_of_the_call(folder: Path, tmp_path: Path) -> None:
    for name, seed in [("one", 0), ("two", 0), ("three", 1)]:
        pack("image_folder", tmp_path / name, shards=2, seed=seed, progress=False, path=folder)
    one, two, three = (_bytes(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["train-000000.tar"] != three["train-000000.tar"]
    with tarfile.open(tmp_path / "one" / "train-000000.tar") as tar:
        assert {(member.mtime, member.uname) for member in tar} == {(0, "bigdata")}


def test_a_finished_pack_is_reused_and_another_one_is_left_alone(
    digits: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _bytes(Path(digits.root))
    assert pack("digits", digits.root) == digits
    assert "already packed, reused" in capsys.readouterr().out
    with pytest.raises(UserError, match=r'another pack is already there.*"shards": 8.*"shards": 4'):
        pack("digits", digits.root, shards=4, progress=False)
    assert _bytes(Path(digits.root)) == before


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(UserError, match="not a pack"):
        pack("digits", tmp_path, progress=False)


def test_an_image_that_does_not_decode_is_named_and_skipped_only_if_asked(folder: Path, tmp_path: Path) -> None:
    broken = folder / "a" / "00.png"
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(UserError, match=r"a/00\.png: the image does not decode.*--skip-undecodable"):
        pack("image_folder", tmp_path / "out", shards=2, progress=False, path=str(folder))
    assert [p.name for p in tmp_path.iterdir()] == ["images"]
    manifest = pack("image_folder", tmp_path / "out", 2, skip_undecodable=True, progress=False, path=str(folder))
    assert manifest.skipped == ["a/00.png"]
    assert sum(manifest.count(split) for split in manifest.splits) == 39


def test_images_of_differing_sizes_need_size(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(folder / "b" / "99.png")
    with pytest.raises(UserError, match=r"9 x 9 x 3 pixels, but .* has 5 x 7 x 3.*size="):
        pack("image_folder", tmp_path / "out", shards=2, progress=False, path=str(folder))
    manifest = pack("image_folder", tmp_path / "out", shards=2, progress=False, path=str(folder), size=[6, 4])
    assert manifest.shape == (3, 6, 4)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 20 kB: writing fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be written.*free some space"):
        pack("digits", tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack("digits", tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"source": "imagenet"}, "'imagenet' is unknown; choose one of digits"),
        ({"source": "digits", "path": "x"}, "digits: .*path"),
        ({"source": "digits", "shards": 0}, "shards: 0 asked for"),
        ({"source": "digits", "shards": 9999}, "shards: 9999 asked for, but there are 1444"),
    ],
)
def test_bad_calls_are_explained(tmp_path: Path, call: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pack(out=tmp_path / "out", progress=False, **call)
    assert list(tmp_path.iterdir()) == []
