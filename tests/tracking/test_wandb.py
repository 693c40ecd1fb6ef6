"""W&B: what its SDK really writes of a training, and what a server gets that is stopped, broken or slow."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from lightning.pytorch import Callback

from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read
from diffusion_lit.tracking.machine import children
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.wandb import WandbLogger
from tests.commands.small import EVALUATED, LIGHTNING, SMALL
from tracking.synthetic import make_run
from tracking.wandb_file import history, records
from tracking.wandb_server import KEY, Bucket, Server

# wandb and what it imports warn about themselves and leave their service's pipes to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    *LIGHTNING, "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning:pydantic.*"
)
OURS = ("_step", "_runtime", "_timestamp")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("WANDB_CONFIG_DIR", str(tmp_path_factory.mktemp("wandb")))
        patch.delenv("WANDB_MODE", raising=False)
        yield server
    server.stop()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert main(["pack", "digits", str(folder / "digits")]) == 0
    return folder


@pytest.fixture(scope="module")
def offline(server: Server, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with evaluations, with W&B offline."""
    folder = tmp_path_factory.mktemp("runs") / "offline"
    evaluations = [word for word in EVALUATED if not word.startswith("evaluation.")]
    words = ["train", *SMALL, *evaluations, "logger=default", "callbacks.checkpoint.best=samples/seconds"]
    assert main([*words, f"paths.data={shards}", f"paths.run={folder}", "tags=[a, b]"]) == 0
    assert server.asked.total() == 0, "offline means offline"
    return folder


def wandb_file(folder: Path) -> Path:
    [path] = folder.glob("wandb/offline-run-*/run-*.wandb")
    return path


def assert_equal_to_the_record(rows: list[dict[str, Any]], folder: Path) -> None:
    """Every line of metrics.jsonl is a row, and no row is anything else; pictures have rows of their own."""
    rows = [row for row in rows if not any(name.startswith("pictures/") for name in row)]
    lines = read(folder / "metrics.jsonl")
    assert [row["_timestamp"] for row in rows] == pytest.approx([line["time"] for line in lines], abs=1e-3)
    without = [{name: value for name, value in row.items() if name not in OURS} for row in rows]
    assert without == [{name: value for name, value in line.items() if name != "time"} for line in lines]


def test_the_offline_file_holds_every_metric_of_a_training(offline):
    rows = history(wandb_file(offline))
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert_equal_to_the_record(rows, offline)
    assert len(rows) > 12


def test_the_offline_file_names_the_run_its_axis_and_its_best_values(offline):
    found = {kind: [] for kind in ("run", "metric", "artifact", "summary")}
    for record in records(wandb_file(offline)):
        found.get(record.WhichOneof("record_type"), []).append(record)
    run, told = found["run"][0].run, RunRecord(offline)
    assert (run.run_id, run.run_group, run.job_type) == (told.run["identity"], "small", "train")
    assert (run.display_name, list(run.tags), run.project) == ("small-offline", ["a", "b"], "diffusion_lit")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {key: config[key] for key in told.config} == told.config
    metrics = {record.metric.name or record.metric.glob_name: record.metric for record in found["metric"]}
    assert metrics["*"].step_metric == "images_seen"
    names = {name for line in told.read_metrics() for name in line} - {"time", "images_seen"}
    assert names <= metrics.keys()
    assert {metrics[name].step_metric for name in names} == {"images_seen"}
    assert metrics["train/loss"].summary.min
    [psnr] = [name for name in names if name.endswith("/psnr")]
    assert metrics[psnr].summary.max
    last = {}
    for record in found["summary"]:
        last |= {item.key: json.loads(item.value_json) for item in record.summary.update if item.key}
    losses = told.series("train/loss")[1]
    assert last["train/loss"] == {"min": min(losses), "last": losses[-1]}
    artifacts = {(each.artifact.type, tuple(each.artifact.aliases)): each.artifact for each in found["artifact"]}
    kinds = [(kind, set(aliases)) for kind, aliases in artifacts if kind != "run_table"]
    # W&B calls whatever is newest the latest, so the last one comes last
    data = ("dataset", {told.run["data"]["identity"], "latest"})
    assert kinds == [("model", {"best", "latest"}), ("model", {"latest"}), data]
    [model] = [each for (kind, aliases), each in artifacts.items() if (kind, aliases) == ("model", ("latest",))]
    [entry] = model.manifest.contents
    assert (entry.path, entry.ref) == ("000000256.ckpt", (offline / "checkpoints" / "last.ckpt").as_uri())


def test_the_offline_file_shows_grids_and_a_table_an_evaluation(offline):
    rows = history(wandb_file(offline))
    for key in ("pictures/samples", "pictures/box12--pigdm", "tables/box12--pigdm"):
        shown = [row for row in rows if f"{key}.path" in row]
        assert [row["images_seen"] for row in shown] == [128, 256]
        for row in shown:
            assert (wandb_file(offline).parent / "files" / row[f"{key}.path"]).stat().st_size > 0
    table = json.loads((wandb_file(offline).parent / "files" / shown[-1]["tables/box12--pigdm.path"]).read_text())
    assert table["columns"] == ["id", "degraded", "restored", "truth", "PSNR", "LPIPS"]
    assert len(table["data"]) == 4
    [psnr] = [name for line in RunRecord(offline).read_metrics() for name in line if name.endswith("/psnr")][-1:]
    mean = sum(row[4] for row in table["data"]) / 4
    assert mean == pytest.approx(RunRecord(offline).series(psnr)[1][-1], rel=1e-5)


def test_upload_sends_a_run_once_and_later_only_what_is_new(offline, server, tmp_path, capsys):
    folder = shutil.copytree(offline, tmp_path / "run")
    assert main(["upload", str(folder)]) == 0
    bucket = server.runs[RunRecord(folder).run["identity"]]
    assert_equal_to_the_record(bucket.rows, folder)
    settings = {key: bucket.settings[key] for key in ("groupName", "jobType", "displayName", "tags")}
    assert settings == {"groupName": "small", "jobType": "train", "displayName": "small-run", "tags": ["a", "b"]}
    assert server.url in capsys.readouterr().out
    versions = {name: len(each) for name, each in server.artifacts.items()}
    assert {name.split("/")[0] for name in versions} == {"dataset", "model", "run_table"}
    media = [row[key]["path"] for row in bucket.rows for key in row if key.startswith("pictures/")]
    assert media
    assert {*media} <= {*bucket.files}

    before = dict(bucket.history)
    assert main(["upload", str(folder)]) == 0
    assert "0 lines, 0 pictures" in capsys.readouterr().out
    assert (bucket.history, bucket.overwritten) == (before, 0)
    assert {name: len(each) for name, each in server.artifacts.items()} == versions

    with (folder / "metrics.jsonl").open("a") as file:  # an evaluation of the last checkpoint, and one before it
        file.write('{"images_seen": 256, "time": 5.0, "fd": 2.5}\n{"images_seen": 64, "time": 6.0, "fd": 3.5}\n')
    assert main(["upload", str(folder)]) == 0
    assert_equal_to_the_record(bucket.rows, folder)
    assert len(bucket.rows) == len(before) + 2
    assert bucket.summary["fd"] == {"min": 2.5, "last": 3.5}
    assert bucket.overwritten == 0


def test_a_lost_mark_loses_nothing_and_doubles_nothing(server, tmp_path):
    folder = made(tmp_path / "run", 30, seed=11)
    assert main(["upload", str(folder)]) == 0
    for mark in (folder / "wandb").glob("sent-*"):
        mark.unlink()
    more(folder, 30, 40)
    assert main(["upload", str(folder)]) == 0
    bucket = server.runs[RunRecord(folder).run["identity"]]
    assert_equal_to_the_record(bucket.rows, folder)
    assert bucket.overwritten == 0


class _At(Callback):
    """Do something in the middle of a step."""

    def __init__(self, step: int, action: Any):
        self.step, self.action = step, action

    def on_before_backward(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.action()


def test_one_run_id_after_a_requeue_and_a_server_that_stops_half_way(shards, server, tmp_path, monkeypatch, capfd):
    from diffusion_lit.commands import build

    folder, make = tmp_path / "requeued", build.build_trainer
    words = ["train", *SMALL, f"paths.data={shards}", f"paths.run={folder}", "logger=wandb", "callbacks=minimal"]
    words += ["callbacks.log.every=16", "resume=auto"]

    def attempt(step: int, action: Any, *more: str) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(build, "build_trainer", lambda c, cb, **kw: make(c, cb | {"at": _At(step, action)}, **kw))
            return main([*words, *more])

    runs = set(server.runs)
    assert attempt(5, lambda: os.kill(os.getpid(), signal.SIGTERM)) == 128 + signal.SIGTERM
    identity = RunRecord(folder).run["identity"]
    bucket = server.runs[identity]
    assert_equal_to_the_record(bucket.rows, folder)
    assert bucket.rows[-1]["images_seen"] == 96
    assert "warning" not in capfd.readouterr().err

    first = len(bucket.rows)
    assert attempt(10, server.stop, "logger.wandb.patience=2.0") == 0
    said = capfd.readouterr().err
    assert said.count("warning: ") == 1
    assert f"diffusion-lit upload {folder}" in said
    assert len(RunRecord(folder).read_metrics()) == first + 1 + 10

    server.start()
    assert main(["upload", str(folder)]) == 0
    assert_equal_to_the_record(bucket.rows, folder)
    assert set(server.runs) - runs == {identity}
    assert [row["attempt"] for row in bucket.rows if "attempt" in row] == [1, 2]
    seen = [row["images_seen"] for row in bucket.rows if "train/loss" in row]
    assert seen == list(range(16, 257, 16))
    assert bucket.overwritten == 0


def made(folder: Path, lines: int, seed: int) -> Path:
    """A run with so many lines and no pictures."""
    run = make_run(folder, seed=seed)
    for pictures in ("samples", "restorations"):
        shutil.rmtree(run / pictures)
    (run / "metrics.jsonl").rename(run / "all.jsonl")
    more(run, 0, lines)
    return run


def more(run: Path, first: int, last: int) -> None:
    lines = (run / "all.jsonl").read_text().splitlines(keepends=True)
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(lines[first:last])


@pytest.mark.parametrize("trouble", ["down", "slow", "broken", "refuses"])
def test_a_server_in_trouble_never_holds_the_training(server, tmp_path, trouble, capfd):
    folder = made(tmp_path / trouble, 0, seed={"down": 1, "slow": 2, "broken": 3, "refuses": 4}[trouble])
    logger = WandbLogger(folder, offline=False, patience=1.0)
    if trouble == "down":
        server.stop()
    server.status = {"broken": 500, "refuses": 403}.get(trouble, 200)
    server.delay = 5.0 if trouble == "slow" else 0.0
    longest = 0.0
    for line in range(20):
        more(folder, line, line + 1)
        began = time.monotonic()
        logger.log_metrics({})
        longest = max(longest, time.monotonic() - began)
    began = time.monotonic()
    logger.finalize("success")
    ended = time.monotonic() - began
    if trouble == "down":
        server.start()
    server.status, server.delay = 200, 0.0
    assert longest < 1.0  # it waits for no answer; the rest is a busy machine
    assert ended < 1.0 + 2.0
    assert capfd.readouterr().err.count("warning: ") == 1
    assert main(["upload", str(folder)]) == 0
    bucket: Bucket = server.runs[RunRecord(folder).run["identity"]]
    assert_equal_to_the_record(bucket.rows, folder)
    assert bucket.overwritten == 0


def test_a_wandb_that_cannot_start_or_write_is_told_once(server, tmp_path, capfd, monkeypatch):
    folder = made(tmp_path / "run", 3, seed=5)
    (folder / "wandb").write_text("a file where W&B's folder should be")
    logger = WandbLogger(folder, offline=True)
    for _ in range(3):
        logger.log_metrics({})
    logger.finalize("success")
    assert capfd.readouterr().err.count("warning: ") == 1
    (folder / "wandb").unlink()

    monkeypatch.setenv("WANDB_API_KEY", "short")
    logger = WandbLogger(folder, offline=False)
    logger.log_metrics({})
    assert logger._process is not None
    assert logger._process.wait(60) == 1
    for _ in range(3):
        logger.log_metrics({})
    assert logger._process is None, "it is not tried again at once"
    logger.finalize("success")
    said = capfd.readouterr().err
    assert said.count("warning: ") == 1
    assert "WANDB_API_KEY" in said

    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = WandbLogger(folder, offline=False)
    logger.log_metrics({})
    logger.finalize("success")
    assert capfd.readouterr().err == ""


def test_the_signals_that_stop_a_job_leave_what_is_beside_it_alone(server, tmp_path):
    folder = made(tmp_path / "run", 5, seed=7)
    logger = WandbLogger(folder, offline=False)
    logger.log_metrics({})
    process = logger._process
    assert process is not None
    wait_for(lambda: list(folder.glob("wandb/sent-*.txt")))  # W&B has started its own process
    assert len(children(process.pid)) == 1
    for pid in (process.pid, *children(process.pid)):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            os.kill(pid, number)
    more(folder, 5, 10)
    logger.log_metrics({})
    logger.finalize("success")
    bucket = server.runs[RunRecord(folder).run["identity"]]
    assert_equal_to_the_record(bucket.rows, folder)
    assert len(bucket.rows) == 10


def test_an_evaluation_leaves_the_sending_to_the_training_that_does_it(server, tmp_path, capfd):
    folder = made(tmp_path / "run", 5, seed=8)
    training, evaluation = WandbLogger(folder, offline=False), WandbLogger(folder, offline=False)
    training.log_metrics({})
    wait_for(lambda: list(folder.glob("wandb/sent-*.txt")))
    assert main(["upload", str(folder)]) == 2
    assert "another process sends this run" in capfd.readouterr().err
    more(folder, 5, 8)
    evaluation.log_metrics({})
    evaluation.finalize("success")
    more(folder, 8, 10)
    training.finalize("success")
    bucket = server.runs[RunRecord(folder).run["identity"]]
    assert_equal_to_the_record(bucket.rows, folder)
    assert (len(bucket.rows), bucket.overwritten) == (10, 0)
    assert capfd.readouterr().err == ""


def wait_for(happened: Any) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_offline_file_replaces_the_ones_before_it(tmp_path, server):
    folder = made(tmp_path / "run", 5, seed=6)
    asked = server.asked.total()
    for last in (10, 20):
        assert main(["upload", str(folder), "offline=1"]) == 0
        wandb.teardown()  # W&B's own process writes a moment longer, as it does until the command ends
        assert_equal_to_the_record(history(wandb_file(folder)), folder)
        more(folder, last - 5, last)
    assert server.asked.total() == asked


def test_follow_goes_on_until_the_training_is_finished(server, tmp_path, monkeypatch, capsys):
    from diffusion_lit.commands import upload

    folder = made(tmp_path / "run", 5, seed=10)
    told = json.loads((folder / "run.json").read_text())
    waits = iter([5, 10, None])

    def wait(seconds: float) -> None:
        first = next(waits)
        (folder / "run.json").write_text(json.dumps(told | {"finished": None if first else told["finished"]}))
        if first:
            more(folder, first, first + 5)

    monkeypatch.setattr(upload, "time", SimpleNamespace(sleep=wait))
    (folder / "run.json").write_text(json.dumps(told | {"finished": None}))
    assert main(["upload", str(folder), "follow=1"]) == 0
    assert_equal_to_the_record(server.runs[told["identity"]].rows, folder)
    assert "15 lines" in capsys.readouterr().out


def test_a_full_disk_is_told_and_keeps_the_offline_file_that_was_there(tmp_path, server, monkeypatch, capsys):
    folder = made(tmp_path / "run", 5, seed=9)
    (folder / "wandb").mkdir()
    before = folder / "wandb" / f"offline-run-20260101_000000-{RunRecord(folder).run['identity']}"
    before.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert main(["upload", str(folder), "offline=1"]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert before.exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "expected run folders"),
        (["{run}", "colour=red"], "expected run folders"),
        (["{run}", "checkpoints=some"], "none, reference, file"),
        (["{run}", "{run}", "follow=1"], "one run"),
        (["{run}/nothing"], "no run was started here"),
    ],
)
def test_mistakes_are_told(tmp_path, capsys, words, reason):
    assert main(["upload", *(word.format(run=tmp_path) for word in words)]) == 2
    assert reason in capsys.readouterr().err
