"""The manifest says what is in the folder, and notices when it is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffusion_lit.data import Manifest, ShardsDataModule
from diffusion_lit.errors import UserError

SHARD = "train-000003.tar"


def test_it_survives_the_disk_and_matches_the_shards(digits: Manifest) -> None:
    read = Manifest.read(digits.root)
    assert read == digits
    assert read.identity == digits.identity
    read.verify()
    assert {split: read.count(split) for split in read.splits} == {"train": 1444, "validation": 177, "test": 176}


def test_moments_are_those_of_the_training_images(digits: Manifest) -> None:
    images = ShardsDataModule(digits.root, 8).images("train").double()
    np.testing.assert_allclose(digits.moments["mean"], [images.mean()], atol=1e-6)
    np.testing.assert_allclose(digits.moments["std"], [images.std(correction=0)], atol=1e-6)


@pytest.mark.parametrize("root", ["file:{}", "pipe:cat {}", "pipe:cat {}/{{}}"])
def test_it_is_read_through_webdatasets_urls(digits: Manifest, root: str) -> None:
    read = Manifest.read(root.format(digits.root))
    read.verify()
    assert read == digits


def test_a_missing_shard_is_named(damaged: Path) -> None:
    (damaged / SHARD).unlink()
    with pytest.raises(UserError, match=rf"{SHARD}: missing shard.*pack anew"):
        Manifest.read(damaged)


@pytest.mark.parametrize(("keep", "what"), [(0, "empty: 0 bytes"), (5000, "truncated: 5000 bytes")])
def test_an_empty_or_truncated_shard_is_named(damaged: Path, keep: int, what: str) -> None:
    content = (damaged / SHARD).read_bytes()
    (damaged / SHARD).write_bytes(content[:keep])
    with pytest.raises(UserError, match=rf"{SHARD}.*{what} found, {len(content)} expected"):
        Manifest.read(damaged)


def test_a_shard_of_the_right_size_but_other_bytes_does_not_match(damaged: Path) -> None:
    content = bytearray((damaged / SHARD).read_bytes())
    content[700] ^= 1
    (damaged / SHARD).write_bytes(content)
    with pytest.raises(UserError, match=rf"{SHARD}: the shard does not match manifest.json: SHA-256"):
        Manifest.read(damaged).verify()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=99), "format 99 found, 1 expected"),
        (lambda m: m.pop("shape"), "damaged manifest.*shape"),
        (lambda m: m["splits"]["train"][0].update(count=0), "identity .* found"),
        (lambda m: m["splits"]["train"].pop(), "identity .* found"),
    ],
)
def test_an_edited_manifest_is_refused(damaged: Path, change, message: str) -> None:
    file = damaged / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        Manifest.read(damaged)


def test_half_a_manifest_and_no_manifest_are_refused(damaged: Path) -> None:
    file = damaged / "manifest.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(UserError, match="damaged manifest"):
        Manifest.read(damaged)
    file.unlink()
    with pytest.raises(UserError, match=r"holds no pack.*diffusion-lit pack SOURCE"):
        Manifest.read(damaged)
