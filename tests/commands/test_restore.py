"""`diffusion-lit restore` on a user's folder, with a prior whose posterior is known."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_lit.cli import main
from diffusion_lit.inverse import methods
from diffusion_lit.inverse.operators import operators
from diffusion_lit.restoration import Job
from tests.commands.small import LIGHTNING
from tests.restoration.prior import SPREAD, write_prior

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)

FEW = ["method=mmps", "method.steps=8", "method.iterations=1"]
SIZES = {"a": (8, 8), "b": (12, 9), "deep/c": (8, 8)}  # neither square nor even


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prior(tmp_path_factory.mktemp("runs") / "exact")


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, of the size of training and not."""
    monkeypatch.chdir(tmp_path)
    for i, (name, size) in enumerate(SIZES.items()):
        save(tmp_path / "pictures" / f"{name}.png", np.random.default_rng(i).integers(60, 200, size, dtype=np.uint8))
    return tmp_path / "pictures"


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def restore(run: Path, *words: str) -> int:
    return main(["restore", f"checkpoint={run}", *words, *([] if "out=" in " ".join(words) else ["out=out"])])


def table(out: str = "out") -> list[dict]:
    return json.loads((Path(out) / "table.json").read_text())


def arrays(name: str, out: str = "out") -> dict[str, np.ndarray]:
    with np.load(Path(out) / "arrays" / f"{name}.npz") as loaded:
        return dict(loaded)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(
    "words",
    [
        ["operator=inpaint_box", "operator.size=4", "method=pigdm", "method.steps=3"],
        ["operator=average_pool", "method=dps", "method.steps=3", "size=trained"],
        ["operator=inpaint_half", "method=replacement", "method.steps=3", "samples=1"],
        ["operator=gaussian_blur", "method.steps=2", "sigma=0.1"],
    ],
)
def test_clean_images_are_degraded_and_restored(run, words, capsys):
    assert restore(run, "images=pictures", "samples=2", *words) == 0
    rows = table()
    assert [row["image"] for row in rows] == ["a.png", "b.png", "deep/c.png"]
    assert all(np.isfinite(row["psnr"]) and row["misfit_ratio"] > 0 for row in rows)
    with open("out/table.csv", newline="") as file:
        assert [line["psnr"] for line in csv.DictReader(file)] == [str(row["psnr"]) for row in rows]
    sizes = {name: (8, 8) for name in SIZES} if "size=trained" in words else SIZES
    kinds = {"truth", "sample", "mean"} | (set() if "samples=1" in words else {"deviation"})
    for name, (height, width) in sizes.items():
        for kind in kinds:
            assert size_of(Path("out") / kind / f"{name}.png") == (width, height)
        assert arrays(name)["samples"].shape == (1 if "samples=1" in words else 2, 1, height, width)
    page = Path("out/index.html").read_text()
    assert page.count("data:image/png;base64,") == len(SIZES) * (len(kinds) + 1)
    assert "mean of 3" in capsys.readouterr().out


def test_the_posterior_is_exact_also_where_the_image_is_enlarged_for_the_network(run):
    """N(0, .25 I) seen through a mask: y / (1 + sigma^2 / .25) where it is seen, 0 where not."""
    assert (
        restore(
            run, "images=pictures", "operator=inpaint_half", "sigma=0.2", "samples=32", "method=mmps", "method.steps=60"
        )
        == 0
    )
    for name, (height, width) in SIZES.items():
        found = arrays(name)
        hidden = np.zeros((height, width), dtype=bool)
        hidden[:, width - width // 2 :] = True
        deviation = found["deviation"][0]
        seen = 1 / np.sqrt(1 / SPREAD**2 + 1 / 0.2**2)
        # each is a mean over dozens of pixels of 32 samples
        assert np.sqrt(np.square(deviation[hidden]).mean()) == pytest.approx(SPREAD, rel=0.12)
        assert np.sqrt(np.square(deviation[~hidden]).mean()) == pytest.approx(seen, rel=0.12)
        assert abs(found["mean"][0][hidden].mean()) < 5 * SPREAD / np.sqrt(32 * hidden.sum())
    assert all(0.8 < row["misfit_ratio"] < 1.2 for row in table())


def measured(folder: str = "measured") -> dict[str, np.ndarray]:
    """Measurements with noise 0.2 of images with a hidden box, as PNG and as arrays."""
    truths = {}
    for i, (name, (height, width)) in enumerate(SIZES.items()):
        generator = np.random.default_rng(i)
        truths[name] = generator.normal(0, 0.3, (height, width)).clip(-0.6, 0.6)
        y = truths[name] + 0.1 * generator.normal(size=truths[name].shape)
        save(Path(folder) / f"{name}.png", ((y.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8))
    return truths


def mask(path: str, size: tuple[int, int], rows: int) -> None:
    pixels = np.zeros(size, dtype=np.uint8)
    pixels[:rows] = 255
    save(Path(path), pixels)


def test_measured_images_with_one_mask_or_one_each(run):
    measured()
    for i, (name, size) in enumerate(SIZES.items()):
        mask(f"masks/{name}.png", size, 2 + i)
    assert restore(run, "measured=measured", "mask=masks", "sigma=0.1", "samples=16", "method.steps=40") == 0
    for i, name in enumerate(SIZES):
        deviation = arrays(name)["deviation"][0]
        assert deviation[: 2 + i].mean() > 0.35
        assert deviation[2 + i :].mean() < 0.15
    assert not Path("out/truth").exists()
    assert "psnr" not in table()[0]
    mask("one.png", (8, 8), 3)
    assert restore(run, "measured=measured", "mask=one.png", "sigma=0.1", *FEW, "out=one") == 2  # b is of another size
    rows = {row["image"]: row for row in table("one")}
    assert "12 x 9" in rows["b.png"]["error"]
    assert {name for name, row in rows.items() if "error" not in row} == {"a.png", "deep/c.png"}


def test_a_y_of_another_size_than_x(run):
    save(Path("small/a.png"), np.full((4, 6), 130, np.uint8))
    np.save("small/b.npy", np.full((1, 4, 3), 0.1))
    np.savez("small/c.npz", y=np.full((4, 4), 0.1), about=1)
    assert restore(run, "measured=small", "operator=average_pool", "operator.factor=2", "sigma=0.1", *FEW) == 0
    assert [row["size"] for row in table()] == ["8 x 12", "8 x 6", "8 x 8"]
    np.save("odd.npy", np.zeros(7))
    Path("flat").mkdir()
    Path("odd.npy").rename("flat/odd.npy")
    assert restore(run, "measured=flat", "operator=average_pool", "sigma=0.1", *FEW, "out=flat_out") == 2
    assert "size=H,W" in table("flat_out")[0]["error"]


@pytest.mark.parametrize("kind", ["py", "npy", "npz", "object"])
def test_an_operator_of_ones_own(run, kind):
    from scipy import sparse

    matrix = np.eye(64)[::2]  # every second pixel
    np.save("rows.npy", matrix)
    sparse.save_npz("rows.npz", sparse.csr_array(matrix))
    code = "from diffusion_lit.inverse import LinearOperator\n"
    Path("rows.py").write_text(
        f"{code}def operator(shape, every=3):\n"
        f"    return LinearOperator.from_function(lambda x: x.flatten(1)[:, ::every], shape)\n"
    )
    Path("object.py").write_text(
        f"{code}operator = LinearOperator.from_function(lambda x: x.flatten(1)[:, ::2], (1, 8, 8))\n"
    )
    truth = np.random.default_rng(0).normal(0, 0.5, 64)
    Path("y").mkdir()
    np.save("y/a.npy", truth[::2].astype(np.float32))
    words = {
        "py": ["operator=rows.py", "operator.every=2"],
        "npy": ["operator=rows.npy"],
        "npz": ["operator=rows.npz"],
        "object": ["operator=object.py"],
    }
    words = [*words[kind], "sigma=0.01", "method.steps=30", "samples=2"]
    assert restore(run, "measured=y", *words) == 0
    mean = arrays("a")["mean"].flatten()
    assert np.abs(mean[::2] - truth[::2]).mean() < 0.03
    assert size_of(Path("out/mean/a.png")) == (8, 8)
    assert not Path("out/measured").exists()  # y is no image


def test_sigma_is_estimated_image_by_image_and_said(run, capsys):
    rows, columns = np.meshgrid(np.linspace(0, 3, 48), np.linspace(0, 2, 48))
    smooth = 0.5 * np.sin(rows) * np.cos(columns)
    sigmas = {"a": 0.05, "b": 0.15}
    for i, (name, sigma) in enumerate(sigmas.items()):
        y = smooth + sigma * np.random.default_rng(i).normal(size=smooth.shape)
        save(Path("noisy") / f"{name}.png", ((y + 1) * 127.5).round().clip(0, 255).astype(np.uint8))
    assert restore(run, "measured=noisy", "operator=identity", "sigma=estimate", *FEW) == 0
    said = capsys.readouterr().out
    for row, sigma in zip(table(), sigmas.values()):
        assert row["sigma"] == pytest.approx(sigma, rel=0.15)
        assert row["sigma_from"] == "from the finest details of y"
        assert f"{row['image']}: sigma = {row['sigma']:.3g}, estimated from the finest details" in said


def test_sigma_of_a_y_that_is_no_image_is_found_with_the_prior(run, capsys):
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(128, 64)) / 8
    np.save("matrix.npy", matrix)
    Path("y").mkdir()
    np.save("y/a.npy", matrix @ generator.normal(0, 0.5, 64) + 0.2 * generator.normal(size=128))
    words = ["operator=matrix.npy", "sigma=estimate", "method=mmps", "method.steps=20", "method.iterations=8"]
    assert restore(run, "measured=y", *words) == 0
    assert "by maximum likelihood with the prior" in capsys.readouterr().out
    assert table()[0]["sigma"] == pytest.approx(0.2, rel=0.15)


# -- going on ----------------------------------------------------------------------------------------------------------

BASE = ["images=pictures", "operator=inpaint_half", *FEW]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the sampler had."""
    calls, draw = [], Job._draw

    def counting(self, ids, operator, ys, sigma):
        calls.append(len(ids))
        return draw(self, ids, operator, ys, sigma)

    monkeypatch.setattr(Job, "_draw", counting)
    return calls


def content(out: str = "out") -> dict[str, bytes]:
    kinds = ("arrays", "records", "sample")
    return {str(path): path.read_bytes() for kind in kinds for path in sorted((Path(out) / kind).rglob("*.*"))}


def test_what_is_finished_is_not_done_again(run, drawn):
    assert restore(run, *BASE) == 0
    assert drawn == [2, 1]  # two of one shape together
    before = content()
    assert restore(run, *BASE) == 0
    assert drawn == [2, 1]
    Path("out/records/b.json").unlink()  # as if it had been stopped there
    save(Path("pictures/d.png"), np.full((8, 8), 100, np.uint8))
    assert restore(run, *BASE) == 0
    assert drawn[2:] == [1, 1]
    after = content()
    same = [name for name in before if "records/b" not in name and "arrays/b" not in name]
    assert all(before[name] == after[name] for name in same)
    assert len(table()) == 4
    save(Path("pictures/a.png"), np.full((8, 8), 90, np.uint8))  # another image of that name
    assert restore(run, *BASE) == 0
    assert drawn[4:] == [1]


def test_an_image_is_the_same_in_any_batch_and_company(run):
    assert restore(run, *BASE, "out=together") == 0
    assert restore(run, *BASE, "out=alone", "batch=1") == 0
    Path("pictures/a.png").unlink()
    assert restore(run, *BASE, "out=fewer") == 0
    for out, names in {"alone": SIZES, "fewer": ["b", "deep/c"]}.items():
        for name in names:
            np.testing.assert_allclose(arrays(name, out)["samples"], arrays(name, "together")["samples"], atol=1e-5)


def test_other_settings_do_not_mix(run, capsys):
    assert restore(run, *BASE) == 0
    before = content()
    for word, key in {
        "samples=3": "samples",
        "sigma=0.1": "sigma",
        "method.steps=9": "method.steps",
        "seed=2": "seed",
    }.items():
        assert restore(run, *[w for w in BASE if w.partition("=")[0] != word.partition("=")[0]], word) == 2
        assert f"({key} was" in capsys.readouterr().err
    assert content() == before
    assert restore(run, *BASE, "samples=3", "out=other") == 0


def test_settings_under_which_nothing_was_restored_do_not_stick(run):
    assert restore(run, "images=pictures", "operator.size=99", *FEW) == 2
    assert restore(run, "images=pictures", "operator.size=3", *FEW) == 0


def test_two_processes_share_a_folder(run):
    for i in range(6):
        save(Path(f"pictures/more/{i}.png"), np.random.default_rng(i).integers(60, 200, (8, 8), dtype=np.uint8))
    words = [sys.executable, "-m", "diffusion_lit.cli", "restore", f"checkpoint={run}", *BASE, "batch=4", "out=out"]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    names = Counter(
        line.partition(":")[0] for text in said for line in text.splitlines() if line.endswith(": restored")
    )
    assert names == Counter(row["image"] for row in table())
    assert len(table()) == len(SIZES) + 6
    assert all("mean of 9" in text for text in said)  # both end when all is done
    assert not list(Path("out/.locks").rglob("*.lock"))


# -- what fails --------------------------------------------------------------------------------------------------------


def test_an_image_that_fails_is_named_and_the_others_are_finished(run, capsys, drawn):
    Path("pictures/b.png").write_bytes(b"no image")
    assert restore(run, *BASE) == 2
    captured = capsys.readouterr()
    assert "error: 1 of 3 images failed, b.png: " in captured.err
    assert "b.png: failed: " in captured.out
    assert [row["image"] for row in table() if "error" not in row] == ["a.png", "deep/c.png"]
    assert "does not decode" in table()[1]["error"]
    assert 'data-failed="b.png"' in Path("out/index.html").read_text()
    save(Path("pictures/b.png"), np.full((8, 8), 100, np.uint8))
    drawn.clear()
    assert restore(run, *BASE) == 0
    assert drawn == [1]
    assert not [row for row in table() if "error" in row]


def test_one_bad_measurement_does_not_take_its_batch_along(run):
    Path("y").mkdir()
    for name, value in {"a": 0.1, "b": float("nan"), "c": 0.2}.items():
        np.save(f"y/{name}.npy", np.full((8, 8), value))
    assert restore(run, "measured=y", "operator=identity", "sigma=0.1", *FEW) == 2
    assert [("error" in row) for row in table()] == [False, True, False]
    assert "finite" in table()[1]["error"]


def test_an_operator_that_raises_is_told_with_the_image(run):
    Path("moody.py").write_text(
        "from diffusion_lit.inverse import Operator\n"
        "def operator(shape):\n"
        "    if shape[1] == 12:\n"
        "        raise ValueError('too tall')\n"
        "    return Operator.from_function(lambda x: x**2, shape)\n"
    )
    words = ["method=dps", "method.steps=20"]
    assert restore(run, "images=pictures", "operator=moody.py", *words) == 2
    assert [("error" in row) for row in table()] == [False, True, False]
    assert "operator((1, 12, 9)) raised ValueError: too tall" in table()[1]["error"]


def test_what_is_restored_may_stand_among_the_images(run):
    assert restore(run, *BASE, "out=pictures/restored") == 0
    assert restore(run, *BASE, "out=pictures/restored") == 0
    assert len(table("pictures/restored")) == 3


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "images=DIR"),
        (["images=pictures", "measured=pictures"], "either images=DIR"),
        (["images=nowhere"], "nowhere"),
        (["images=pictures", "operator=magic"], "magic"),
        (["images=pictures", "operator.sise=2"], "sise"),
        (["images=pictures", "method=magic"], "magic"),
        (["images=pictures", "method.stesp=3"], "stesp"),
        (["images=pictures", "samples=0"], "samples=0"),
        (["images=pictures", "sigma=-1"], "sigma=-1"),
        (["images=pictures", "sigma=estimate"], "measured=DIR"),
        (["images=pictures", "size=big"], "size=big"),
        (["images=pictures", "device=quantum"], "device=quantum"),
        (["images=pictures", "operator=none.py"], "none.py"),
        (["images=pictures", "operator=broken.py"], "broken.py: raised SyntaxError"),
        (["images=pictures", "operator=empty.py"], "defines no `operator`"),
        (["images=pictures", "operator=empty.npy"], "shape (3,)"),
        (["images=pictures", "mask=none.png"], "none.png"),
        (["measured=pictures", "sigma=1"], "operator= or mask="),
        (["measured=pictures", "operator=identity"], "sigma=NUMBER"),
        (["measured=pictures", "operator=identity", "mask=a.png", "sigma=1"], "not both"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(run, capsys, words, named):
    Path("broken.py").write_text("def operator(:")
    Path("empty.py").write_text("")
    np.save("empty.npy", np.zeros(3))
    assert restore(run, *words) == 2
    assert named in capsys.readouterr().err
    assert not Path("out").exists()


def test_two_names_that_would_be_one_are_refused(run, capsys):
    save(Path("pictures/a.bmp"), np.zeros((8, 8), np.uint8))
    assert restore(run, *BASE) == 2
    assert "a.bmp and a.png" in capsys.readouterr().err


def test_colour(tmp_path):
    run = write_prior(tmp_path / "colour", channels=3)
    save(Path("rgb/a.png"), np.random.default_rng(0).integers(60, 200, (8, 10, 3), dtype=np.uint8))
    assert restore(run, "images=rgb", "operator=colourise", *FEW) == 0
    with Image.open("out/mean/a.png") as mean, Image.open("out/measured/a.png") as grey:
        assert (mean.mode, grey.mode) == ("RGB", "L")
    # what was measured is itself an image file of another number of channels
    assert restore(run, "measured=out/measured", "operator=colourise", "sigma=0.05", *FEW, "out=again") == 0
    assert arrays("a", "again")["mean"].shape == (3, 8, 10)


def test_a_diffusers_folder_restores(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    layout = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "norm_num_groups": 4}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(block_out_channels=(8, 8), **layout, **blocks)
    unet.save_pretrained(tmp_path / "model" / "unet")
    diffusers.DDPMScheduler().save_pretrained(tmp_path / "model" / "scheduler")
    assert restore(tmp_path / "model", *BASE) == 0
    assert size_of(Path("out/mean/b.png")) == (9, 12)
    assert main(["sample", "checkpoint=model", "n=2", "sampler=ddim", "steps=2", "out=drawn"]) == 0
    with np.load("drawn/samples.npz") as loaded:
        assert loaded["images"].shape == (2, 1, 8, 8)


def test_the_help_knows_every_operator_and_method(capsys):
    assert main(["restore", "--help"]) == 0
    words = set(capsys.readouterr().out.replace(".", " ").split())
    assert words >= {*operators, *methods}
