"""A run is followed while it trains elsewhere: each checkpoint once, whatever happens to either."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tracking.wandb_file import history

from diffusion_lit.callbacks import Record
from diffusion_lit.cli import main
from diffusion_lit.commands.evaluations import Evaluations
from diffusion_lit.commands.follow import Follower
from diffusion_lit.files import hold
from diffusion_lit.tracking.comparison.numbers import evaluations, values
from diffusion_lit.tracking.comparison.runs import read_run, signature
from diffusion_lit.tracking.lines import read
from diffusion_lit.tracking.record import RunRecord
from tests.commands.small import EVALUATED, LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)
PLAIN = ["callbacks=minimal", *(word for word in EVALUATED if word.startswith("evaluation.loss"))]
ONLY_LOSS = ["~evaluation.generation", "~evaluation.restoration"]
LOSS = "validation/loss/ema-0.05"


@pytest.fixture(scope="module")
def stages(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as it stood after each checkpoint: 64, 128, 192 and 256 images, and at the end."""
    folder, kept = tmp_path_factory.mktemp("runs") / "run", tmp_path_factory.mktemp("stages")
    saved = Record.saved

    def keep(self: Record, images_seen: int) -> None:
        saved(self, images_seen)
        shutil.copytree(folder, kept / str(images_seen))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "saved", keep)
        assert main(["train", *SMALL, *PLAIN, f"paths.data={shards}", f"paths.run={folder}"]) == 0
    shutil.copytree(folder, kept / "end")
    return kept


class Reading(Evaluations):
    """Stands in for evaluations: reads off which weights it was given."""

    def __init__(self, config) -> None:
        assert (config.trainer.devices, config.trainer.num_nodes, config.trainer.strategy) == (1, 1, "auto")
        assert not config.logger
        self.module, self.entries = SimpleNamespace(), {}

    def at(self, path, state) -> dict[str, float]:
        self.module.trained_images = state["diffusion_lit"]["images_seen"]
        return {"weight": float(next(iter(state["state_dict"].values())).float().sum())}

    def describe(self, folder: Path) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path, stages: Path):
    """A run folder that can be put into the state that it had at a stage."""

    def at(stage: int | str) -> Path:
        shutil.copytree(stages / str(stage), tmp_path / "run", dirs_exist_ok=True)
        return tmp_path / "run"

    return at


def steps(follower: Follower, limit: int = 20) -> bool:
    """Step until there is nothing left to evaluate now; return whether the run is finished."""
    for _ in range(limit):
        finished = follower.step()
        if follower.idle:
            return finished
    raise AssertionError("it does not come to rest")


def seen(folder: Path) -> list[int]:
    return [line["images_seen"] for line in read(folder / "followed.jsonl")]


def test_each_checkpoint_is_evaluated_once_as_training_goes_on(tmp_path, run, capsys):
    follower = Follower(tmp_path / "run", make=Reading)
    assert steps(follower) is False
    assert "has not started yet" in capsys.readouterr().out
    folder = run(64)
    assert steps(follower) is False
    assert seen(folder) == [64]
    run(192)  # it was busy meanwhile: the one that is kept, then the last
    assert steps(follower) is False
    assert seen(folder) == [64, 128, 192]
    assert steps(follower) is False
    assert capsys.readouterr().out.count("waiting") == 2, "what it waits for is said once"
    run("end")
    assert steps(follower) is True
    assert seen(folder) == [64, 128, 192, 256]
    assert len({line["weight"] for line in read(folder / "followed.jsonl")}) == 4
    follower.finish()
    summary = RunRecord(folder).summary
    assert summary["images_seen"] == 256
    assert summary["train_seconds"] > 0


def test_a_follower_goes_on_where_it_stopped(run):
    folder = run(192)
    first = Follower(folder, make=Reading)
    first.step()
    with (folder / "followed.jsonl").open("a") as file:
        file.write('{"images_seen": 192, "wei')  # and is killed
    second = Follower(folder, make=Reading)
    run("end")
    assert steps(second) is True
    assert seen(folder) == [128, 256]


def test_a_damaged_checkpoint_is_passed_over_until_the_next(run, capsys):
    folder = run(64)
    last = folder / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 255
    last.write_bytes(content)
    follower = Follower(folder, make=Reading)
    steps(follower)
    steps(follower)
    assert not (folder / "followed.jsonl").exists()
    assert capsys.readouterr().out.count("passed over") == 1
    run(128)
    steps(follower)
    assert seen(folder) == [128]


def test_a_training_that_crashed_is_waited_for_and_what_it_takes_back_is_forgotten(run, stages, capsys):
    folder = run(192)
    follower = Follower(folder, make=Reading)
    steps(follower)
    assert seen(folder) == [128, 192]
    record = RunRecord(folder)
    record.end("RuntimeError: out of memory")
    assert steps(follower) is False
    assert "attempt 1 ended (RuntimeError: out of memory)" in capsys.readouterr().out
    checkpoints = folder / "checkpoints"
    (checkpoints / "last.ckpt").unlink()  # as a damaged one is put aside
    (checkpoints / "images-000000128.ckpt").rename(checkpoints / "last.ckpt")
    record.start(record.config, from_images_seen=128)
    assert seen(folder) == [128], "training itself takes it back"
    record.log_followed({"images_seen": 192, "time": 1.0, "weight": 0.0})  # what was under way meanwhile
    assert steps(follower) is False
    assert seen(folder) == [128]
    shutil.copytree(stages / "192" / "checkpoints", checkpoints, dirs_exist_ok=True)  # it gets there again
    steps(follower)
    assert seen(folder) == [128, 192]
    assert read(folder / "followed.jsonl")[-1]["weight"] != 0.0


def test_one_follower_of_a_run_is_enough(run, capsys):
    folder = run("end")
    # a lock of this process would not stop this process
    code = "import sys; from diffusion_lit.files import hold; kept = hold(sys.argv[1]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder / ".follow.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert main(["evaluate", "--follow", str(folder)]) == 2
        other.communicate(b"\n")
    assert "follows this run already" in capsys.readouterr().err
    lock = hold(folder / ".follow.lock")
    assert lock is not None
    lock.close()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--follow"], "which run"),
        (["--follow", "every=3"], "which run"),
        (["--follow", "{run}", "every=0"], "every=0"),
        (["--follow", "{run}", "trainer.devices=2"], "trainer.devices"),
        (["--follow", "{run}", "evaluation.lss=2"], "evaluation.lss"),
    ],
)
def test_mistakes_of_a_follower(run, capsys, words, named):
    assert main(["evaluate", *(word.format(run=run("end")) for word in words)]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_evaluation_under_way(run, monkeypatch, capsys, number):
    folder = run("end")
    at = Evaluations.at

    def told(self, path, state):
        signal.raise_signal(number)
        return at(self, path, state)

    monkeypatch.setattr(Evaluations, "at", told)
    before = signal.getsignal(number)
    assert main(["evaluate", "--follow", str(folder), *ONLY_LOSS]) == 128 + number
    assert signal.getsignal(number) is before
    assert seen(folder) == [128]
    assert "the same command goes on" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["evaluate", "--follow", str(folder), *ONLY_LOSS]) == 0
    assert seen(folder) == [128, 256]
    # the same numbers as `evaluate` finds
    assert main(["evaluate", f"checkpoint={folder}/checkpoints/images-000000128.ckpt", *ONLY_LOSS]) == 0
    *_, evaluated = read(folder / "metrics.jsonl")
    first = read(folder / "followed.jsonl")[0]
    assert {name: first[name] for name in evaluated if name != "time"} == {
        name: value for name, value in evaluated.items() if name != "time"
    }


def test_comparisons_tell_what_a_follower_measured_from_what_training_did(run):
    folder = run(192)
    before = signature(folder)
    record = RunRecord(folder)
    with (folder / "metrics.jsonl").open("a") as file:
        for n in (128, 192):
            file.write(json.dumps({"images_seen": n, "time": 5.0, LOSS: 2.0}) + "\n")
    for n in (128, 192):
        record.log_followed({"images_seen": n, "time": 1e12, LOSS: 1.0, "fd/a/n=9": n})
    read_again = read_run(folder, "run", now=6.0)
    assert signature(folder) != before
    positions = [i for i, line in enumerate(read_again.lines) if "fd/a/n=9" in line]
    assert read_again.beside == frozenset(positions)
    assert positions[0] < len(read_again.lines) - 2, "by images seen"
    assert frozenset(positions) <= evaluations(read_again)
    assert values(read_again)["fd/a/n=9"].images_seen == 192
    # under one name, training's own
    assert record.series(LOSS) == ([128, 192], [2.0, 2.0])
    assert record.series("fd/a/n=9") == ([128, 192], [128.0, 192.0])


def test_a_follower_in_another_process_and_wandb(shards, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "followed"
    words = [sys.executable, "-m", "diffusion_lit.cli", "evaluate", "--follow", str(folder), "every=0.2", *ONLY_LOSS]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    saved = Record.saved

    def wait(self: Record, images_seen: int) -> None:  # until what was saved is evaluated
        saved(self, images_seen)
        deadline = time.monotonic() + 100
        while images_seen < 256 and images_seen not in seen(folder):
            assert time.monotonic() < deadline
            assert other.poll() is None
            time.sleep(0.05)

    monkeypatch.setattr(Record, "saved", wait)
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        try:
            assert "has not started yet" in other.stdout.readline()
            train = ["train", *SMALL, *PLAIN, "logger=default", f"paths.data={shards}", f"paths.run={folder}"]
            assert main(train) == 0
            out, _ = other.communicate(timeout=100)
        finally:
            other.kill()
    assert other.returncode == 0, out
    assert seen(folder) == [64, 128, 192, 256]
    assert RunRecord(folder).summary["images_seen"] == 256
    losses = [line[LOSS] for line in read(folder / "followed.jsonl")]
    assert len(set(losses)) == 4
    [file] = folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = {row["images_seen"]: row[LOSS] for row in history(file) if LOSS in row}
    assert rows == pytest.approx(dict(zip(seen(folder), losses, strict=True))), "none dropped, though they come late"
