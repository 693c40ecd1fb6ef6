"""Every source lists images with stable ids and splits, and says what is wrong with its files."""

import gzip
import io
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_lit.data.sources import Item, sources
from diffusion_lit.data.sources.idx import FASHION_MNIST
from diffusion_lit.data.sources.item import split_every
from diffusion_lit.errors import UserError

EMBEDDED = ["digits", "photos"] + (["fashion_mnist"] if Path(FASHION_MNIST).exists() else [])


def _counts(items: list[Item]) -> Counter[str]:
    return Counter(item.split for item in items)


@pytest.mark.parametrize("name", EMBEDDED)
def test_ids_are_unique_and_the_list_is_the_same_each_time(name: str) -> None:
    first, second = sources[name](), sources[name]()
    assert len({item.id for item in first}) == len(first)
    assert max(item.id for item in first) < 10**9
    assert [(i.id, i.split, i.label, i.name) for i in first] == [(i.id, i.split, i.label, i.name) for i in second]
    image = first[-1].load()
    assert image.dtype == np.uint8
    assert image.max() > 127


def test_mnist5k_is_split_alike_in_every_class_and_its_first_ids_are_a_mixture() -> None:
    items = sources["mnist5k"]()
    assert len({item.id for item in items}) == 5000
    counts = Counter((item.split, item.label) for item in items)
    assert {split: {counts[split, c] for c in range(10)} for split in ("train", "validation", "test")} == {
        "train": {400},
        "validation": {20},
        "test": {80},
    }
    test = sorted((item for item in items if item.split == "test"), key=lambda item: item.id)
    assert Counter(item.label for item in test[:20]) == Counter({c: 2 for c in range(10)})


def test_photos_are_split_by_photo() -> None:
    splits: dict[str, set[str]] = {}
    for item in sources["photos"]():
        splits.setdefault(item.name.partition("[")[0], set()).add(item.split)
        assert item.load().shape == (32, 32, 3)
    assert len(splits) == 12
    assert all(len(of_photo) == 1 for of_photo in splits.values())


def test_classes_too_small_to_be_split_alike_are_split_together() -> None:
    labels = np.arange(30) // 5
    assert Counter(split_every(10, 30, labels, (8,), (9,))) == {"train": 24, "validation": 3, "test": 3}


def _write_idx(path: Path, array: np.ndarray) -> str:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def test_idx_reads_plain_and_gzipped_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (120, 3, 4), dtype=np.uint8)
    labels = (np.arange(120) % 2).astype(np.uint8)
    x, y = _write_idx(tmp_path / "x.gz", images), _write_idx(tmp_path / "y", labels)
    items = sources["idx"](x, y)
    assert _counts(items) == {"train": 96, "validation": 12, "test": 12}
    np.testing.assert_array_equal([item.load() for item in items], images)
    assert [item.label for item in items] == labels.tolist()
    assert _counts(sources["idx"](x, y, test_images=x, test_labels=y)) == {"train": 118, "validation": 2, "test": 120}
    with pytest.raises(UserError, match=r"\(119,\) labels for 120 images"):
        sources["idx"](x, _write_idx(tmp_path / "short", labels[:119]))


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    x = _write_idx(tmp_path / "x", np.zeros((9, 3, 4), dtype=np.uint8))
    Path(x).write_bytes(Path(x).read_bytes()[:-5])
    with pytest.raises(UserError, match="119 bytes found, 124 expected"):
        sources["idx"](x)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UserError, match="text: starts with 68656c6c"):
        sources["idx"](str(tmp_path / "text"))
    with pytest.raises(UserError, match="could not be read"):
        sources["idx"](str(tmp_path / "missing"))


def test_fashion_mnist_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="apt-get install dataset-fashion-mnist"):
        sources["fashion_mnist"](str(tmp_path))


def test_npz(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, images=np.zeros((20, 4, 6, 1), dtype=np.uint8))
    items = sources["npz"](path)
    assert items[0].load().shape == (4, 6)
    assert items[0].label is None
    np.savez(path, images=np.zeros((20, 4, 6)))
    with pytest.raises(UserError, match=r"float64 of shape .* expected uint8"):
        sources["npz"](path)
    np.savez(path, images=np.zeros((20, 4, 6), dtype=np.uint8), labels=np.zeros(19, dtype=int))
    with pytest.raises(UserError, match="expected 20 integers"):
        sources["npz"](path)
    np.savez(path, images=np.array([{}] * 3, dtype=object))
    with pytest.raises(UserError, match="plain arrays"):
        sources["npz"](path)
    np.savez(path, pictures=np.zeros(3))
    with pytest.raises(UserError, match="no array named `images`"):
        sources["npz"](path)


def test_image_folder_knows_splits_classes_grey_and_size(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(3):
                Image.new("RGBA", (8, 6), (255, 0, 0, 255)).save(tmp_path / split / label / f"{i}.png")
    items = sources["image_folder"](str(tmp_path), size=4, grey=True)
    assert Counter((item.split, item.label) for item in items) == Counter(
        {(split, label): 3 for split in ("train", "validation", "test") for label in (0, 1)}
    )
    assert items[0].load().shape == (4, 4)
    assert sources["image_folder"](str(tmp_path))[0].load().shape == (6, 8, 3)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UserError, match="no image file in this folder"):
        sources["image_folder"](str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        sources["image_folder"](str(tmp_path / "missing"))


def _write_cifar(path: Path, batches: dict[str, object]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, batch in batches.items():
            content = pickle.dumps(batch, protocol=3)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def test_cifar10_reads_arrays_and_executes_nothing(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (100, 3072), dtype=np.uint8)
    batch = {b"data": rows, b"labels": [i % 2 for i in range(100)]}
    items = sources["cifar10"](_write_cifar(tmp_path / "c.tar.gz", {"data_batch_1": batch, "test_batch": batch}))
    assert _counts(items) == {"train": 98, "validation": 2, "test": 100}
    assert items[3].load()[1, 2].tolist() == [rows[3, 1024 * c + 32 + 2] for c in range(3)]

    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    with pytest.raises(UserError, match="it asks for"):
        sources["cifar10"](_write_cifar(tmp_path / "evil.tar.gz", {"data_batch_1": Evil(), "test_batch": batch}))
    assert not marker.exists()
