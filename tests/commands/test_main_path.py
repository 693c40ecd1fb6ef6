"""The main path as a user walks it, each command in this process: pack, train, evaluate, sample, restore, report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read, series
from tests.commands.small import EVALUATED, LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its evaluation."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", *SMALL, *EVALUATED, f"paths.data={shards}", f"paths.run={folder}"]) == 0
    assert main(["evaluate", f"checkpoint={folder}"]) == 0
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_training_leaves_what_design_says(run):
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    expected = {"run.json", "config.yaml", "metrics.jsonl", "summary.json", "checkpoints/last.ckpt"}
    expected |= {f"checkpoints/images-{n:09d}.ckpt" for n in (128, 256)}
    expected |= {f"samples/{n:09d}.{e}" for n in (128, 256) for e in ("png", "json")}
    expected |= {f"restorations/{n:09d}/box12--pigdm.{e}" for n in (128, 256) for e in ("png", "json")}
    assert names >= expected
    assert not [name for name in names if name.endswith(".part")]
    about = json.loads((run / "restorations/000000256/box12--pigdm.json").read_text())
    assert about["images_seen"] == 256
    assert len(about["columns"]) == 2 + 2 + 2


def test_metrics_count_images(run):
    lines = read(run / "metrics.jsonl")
    losses = {line["images_seen"]: line["train/loss"] for line in lines if "train/loss" in line}
    assert sorted(losses) == list(range(32, 257, 32))
    assert losses[256] < losses[32]
    rates = {line["images_seen"]: line["train/learning_rate"] for line in lines if "train/learning_rate" in line}
    assert rates[128] == pytest.approx(1e-3)
    assert rates[256] < rates[224] < rates[192]
    record = json.loads((run / "run.json").read_text())
    assert record["finished"]
    assert 0 < record["train_seconds"] < 120
    assert record["network"]["parameters"] > 1000


def test_the_summary_has_the_flat_keys_and_the_baselines_are_right(run):
    summary = json.loads((run / "summary.json").read_text())
    assert {
        *(f"psnr_hidden/{k}" for k in ("posterior_mean", "sample", "biharmonic", "mean_image", "gaussian")),
        *(f"lpips/{k}" for k in ("sample", "biharmonic", "gaussian")),
        *("misfit_ratio", "fd_alex/model", "fd_alex/gaussian", "fd_alex/floor"),
        *("images_seen", "train_seconds", "nfe_per_sample"),
    } <= set(summary)
    assert summary["images_seen"] == 256
    assert summary["psnr_hidden/gaussian"] > summary["psnr_hidden/mean_image"]
    assert summary["fd_alex/floor"] < summary["fd_alex/gaussian"] < summary["fd_alex/model"]  # hardly trained
    assert not any(name.startswith("ssim") for name in summary)  # 8 pixels are less than its window


def test_evaluate_leaves_out_and_overrides(run, capsys):
    before = (run / "summary.json").read_text()
    words = ["~evaluation.generation", "~evaluation.restoration", "evaluation.loss.evaluator.n=8"]
    try:
        assert main(["evaluate", f"checkpoint={run}", *words]) == 0
        assert set(json.loads((run / "summary.json").read_text())) == {"images_seen", "train_seconds"}
        told = yaml.safe_load((run / "evaluation.yaml").read_text())
        assert told["loss"]["evaluator"]["n"] == 8
        assert told["generation"]["evaluator"]["n"] == 64  # as it was measured before
    finally:
        (run / "summary.json").write_text(before)
    for word in ("~evaluation.nothing", "~nothing", "evaluation.lss=3", "trainer.strtegy=ddp"):
        assert main(["evaluate", f"checkpoint={run}", word]) == 2
        assert word.lstrip("~").partition("=")[0] in capsys.readouterr().err


def test_what_is_measured_of_a_run_that_still_trains_stands_beside_its_log(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(told | {"finished": None}))
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"images_seen": 2')  # training is just writing
    before = (folder / "metrics.jsonl").stat()
    words = ["~evaluation.generation", "~evaluation.restoration", "evaluation.loss.evaluator.n=8"]
    assert main(["evaluate", f"checkpoint={folder}", *words]) == 0
    after = (folder / "metrics.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    [line] = read(folder / "followed.jsonl")
    assert line["images_seen"] == 256
    assert "loss_by_noise/ema-0.05/00" in line


def test_sample_writes_a_grid_and_an_array_that_do_not_depend_on_the_batch(run, tmp_path):
    words = ["sample", f"checkpoint={run}", "n=6", "sampler=ddim", "steps=4"]
    assert main([*words, "out=one"]) == 0
    assert main([*words, "out=two", "batch=4"]) == 0
    one, two = (np.load(tmp_path / name / "samples.npz")["images"] for name in ("one", "two"))
    assert one.shape == (6, 1, 8, 8)
    np.testing.assert_allclose(one, two, atol=1e-5)
    assert size_of(tmp_path / "one" / "samples.png") == (2 * 10 - 2, 3 * 10 - 2)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "heun", "dpmsolverpp"])
def test_sample_knows_every_sampler(run, sampler):
    assert main(["sample", f"checkpoint={run}", "n=1", f"sampler={sampler}", "steps=2", "out=s", "ema=0.1"]) == 0


def test_restore_leaves_pictures_a_table_and_a_page(run, tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 9), dtype=np.uint8)).save("pictures/a.png")
    words = ["images=pictures", "operator.size=4", "method=mmps", "method.steps=3", "out=restored"]
    assert main(["restore", f"checkpoint={run}", *words]) == 0
    [row] = json.loads((tmp_path / "restored" / "table.json").read_text())
    assert np.isfinite(row["psnr"])
    assert size_of(tmp_path / "restored" / "mean" / "a.png") == (9, 12)
    assert (tmp_path / "restored" / "index.html").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sample", "n=3"], "checkpoint=RUN"),
        (["sample", "checkpoint=nowhere"], "nowhere"),
        (["sample", "checkpoint={run}", "sampler=magic"], "magic"),
        (["sample", "checkpoint={run}", "n=many"], "n=many"),
        (["sample", "checkpoint={run}", "steps=0"], "steps"),
        (["sample", "checkpoint={run}", "ema=0.2"], "0.2"),
        (["restore", "checkpoint={run}", "images=nowhere"], "nowhere"),
        (["restore", "checkpoint={run}", "images=none"], "none"),
        (["restore", "checkpoint={run}", "images=one", "operator=magic"], "magic"),
        (["restore", "checkpoint={run}", "images=one", "operator.sise=2"], "sise"),
        (["restore", "checkpoint={run}", "images=one", "operator.size=99"], "99"),
        (["restore", "checkpoint={run}", "images=one", "method=magic"], "magic"),
        (["restore", "checkpoint={run}", "images=one", "samples=0"], "samples=0"),
        (["evaluate"], "checkpoint="),
        (["evaluate", "checkpoint=nowhere"], "nowhere"),
        (["train", "data=npz", "data.pack.path=none.npz", "paths.data=."], "none.npz"),
        (["train", *SMALL, "batch_size=12", "paths.data={shards}"], "12"),
        (["train", *SMALL, "data.shape=[1,9,9]", "paths.data={shards}"], "data.shape"),
        (["train", *SMALL, "checkpoint=nowhere", "paths.data={shards}"], "nowhere"),
        (["train", *SMALL, "resume=nowhere", "paths.data={shards}"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["report"], "report"),
        (["compare"], "compare"),
        (["pack", "digits"], "SOURCE OUT"),
        (["pack", "magic", "out"], "magic"),
        (["pack", "digits", "out", "shards=[1"], "shards=[1"),
        (["pack", "digits", "out", "colour=3"], "colour"),
        (["doctor", "data=digits", "paths.data=nowhere", "trainer=ddp_sim"], "nowhere"),
    ],
)
def test_mistakes_get_one_paragraph_and_status_2(run, shards, tmp_path, capsys, words, named):
    (tmp_path / "none").mkdir()
    (tmp_path / "one").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "one" / "a.png")
    assert main([word.format(run=run, shards=shards) for word in words]) == 2
    out, err = capsys.readouterr()
    message = [line for line in (err + out).splitlines() if line.startswith(("error", "!!"))][-1]
    assert named in message
    assert "Traceback" not in err


def test_a_run_is_not_written_over_and_a_finished_one_is_left_alone(run, shards, capsys):
    words = ["train", *SMALL, *EVALUATED, f"paths.data={shards}", f"paths.run={run}"]
    before = (run / "metrics.jsonl").read_text()
    assert main(words) == 2
    assert "resume=auto" in capsys.readouterr().err
    assert main([*words, "resume=auto"]) == 0
    assert "trained already" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_text() == before


def test_another_configuration_does_not_go_on_in_the_folder(run, shards, capsys):
    words = ["train", *SMALL, *EVALUATED, f"paths.data={shards}", f"paths.run={run}", "resume=auto", "max_images=512"]
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert main(words) == 2
    assert "max_images" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_another_architecture_is_refused_by_its_first_tensor(run, shards, tmp_path, capsys):
    words = ["train", *SMALL, f"paths.data={shards}", "paths.run=other", f"checkpoint={run}"]
    assert main([*words, "model.denoiser.network.width=16"]) == 2
    assert "network." in capsys.readouterr().err
    assert not (tmp_path / "other" / "checkpoints").exists()


def test_a_run_starts_from_the_weights_of_another(run, shards, tmp_path):
    words = ["train", *SMALL, "max_images=32", f"paths.data={shards}", "paths.run=tuned", f"checkpoint={run}"]
    assert main([*words, "callbacks=minimal", "callbacks.log.every=16"]) == 0
    lines = [read(folder / "metrics.jsonl") for folder in (tmp_path / "tuned", run)]
    [tuned, *_], [fresh, *_] = (series(of_run, "train/loss")[1] for of_run in lines)
    assert tuned < fresh


def test_report_and_compare_are_single_files(run, tmp_path, capsys):
    assert main(["report", str(run), "out=r.html"]) == 0
    assert main(["compare", str(run), str(run), "out=c.html"]) == 0
    assert "psnr" in capsys.readouterr().out.lower()
    for name in ("r.html", "c.html"):
        page = (tmp_path / name).read_text()
        assert "data:image/png;base64," in page
        assert 'src="http' not in page


def test_cfg_prints_the_configuration_and_trains_nothing(tmp_path, capsys):
    assert main(["train", *SMALL, "--cfg"]) == 0
    assert "max_images: 256" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_profiler_prints_what_it_found(shards, caplog):
    words = ["train", *SMALL, "callbacks=minimal", "debug=profiler", "max_images=32", f"paths.data={shards}"]
    assert main(words) == 0
    assert "Profiler Report" in caplog.text


def test_an_evaluation_can_be_left_out_in_training(shards, tmp_path):
    words = ["train", *SMALL, "callbacks=minimal", "max_images=32", f"paths.data={shards}", "paths.run=small"]
    assert main(words) == 0
    assert main(["evaluate", "checkpoint=small", "~evaluation.generation", "evaluation.loss.evaluator.n=8"]) == 0
    assert json.loads((tmp_path / "small" / "summary.json").read_text())["images_seen"] == 32
