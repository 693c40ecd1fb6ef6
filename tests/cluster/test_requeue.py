"""Which endings of a training put its job back into the queue."""

import json
import os
import signal
from pathlib import Path

import pytest

from diffusion_lit.cli import main
from diffusion_lit.cluster import requeue as module
from diffusion_lit.cluster.requeue import requeue, verdict
from diffusion_lit.errors import UserError
from diffusion_lit.tracking.record import RunRecord


@pytest.mark.parametrize(
    ("code", "crashes", "again", "why"),
    [
        (0, 0, False, "finished"),
        (2, 0, False, "mistake"),
        (128 + signal.SIGTERM, 0, False, "stopped by SIGTERM"),
        (128 + signal.SIGINT, 0, False, "stopped by SIGINT"),
        (os.EX_TEMPFAIL, 99, True, "time was over"),
        (128 + signal.SIGUSR1, 99, True, "time was over"),
        (128 + signal.SIGKILL, 0, True, "killed by SIGKILL, 1 of 3"),
        (1, 2, True, "crashed with exit code 1, 3 of 3"),
        (1, 3, False, "after 3 crashes without a new checkpoint"),
    ],
)
def test_each_ending_has_its_verdict(code, crashes, again, why):
    found = verdict(code, crashes, 3)
    assert found.again == again
    assert why in found.why


@pytest.fixture
def calls(monkeypatch):
    """The calls of scontrol, which succeed."""
    made: list[list[str]] = []

    def call(words, **_):
        if words[0] == "scontrol":
            made.append(words)
        return module.subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", call)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    return made


def crash(run: Path, rank: int, text: str) -> None:
    RunRecord(run).crashed(rank, RuntimeError(text))


def test_crashes_are_counted_anew_after_each_checkpoint(tmp_path, calls):
    record = RunRecord(tmp_path)
    for attempt in range(3):
        record.start({"seed": 0}, from_images_seen=0)
        crash(tmp_path, 1, f"lost {attempt}")
        assert requeue(tmp_path, 1, limit=3).again
    record.start({"seed": 0}, from_images_seen=0)
    record.progress(1.0, 128)  # it got on
    assert requeue(tmp_path, 137, limit=3).again
    for _ in range(2):
        record.start({"seed": 0}, from_images_seen=128)
        assert requeue(tmp_path, 1, limit=3).again
    record.start({"seed": 0}, from_images_seen=128)
    assert not requeue(tmp_path, 1, limit=3).again
    assert calls == [["scontrol", "requeue", "17"]] * 6

    lines = [json.loads(line) for line in (tmp_path / "requeues.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [0, 0, 0, 128, 128, 128, 128]
    assert "RuntimeError: lost 0" in lines[0]["errors"][0]
    assert lines[0]["job"] == "17"
    assert record.run["attempts"][3]["ended"] == "killed by SIGKILL, 1 of 3 without a new checkpoint"


def test_a_job_that_never_started_its_run_is_bounded_too(tmp_path, calls):
    verdicts = [requeue(tmp_path / "new", 1, limit=2).again for _ in range(3)]
    assert verdicts == [True, True, False]


def test_a_crash_whose_code_is_hidden_by_those_that_srun_ended_with_it(tmp_path, calls):
    record = RunRecord(tmp_path)
    record.start({"seed": 0}, from_images_seen=0)
    assert requeue(tmp_path, 128 + signal.SIGTERM, limit=3).again
    record.start({"seed": 0}, from_images_seen=0)
    record.end("SIGTERM")  # seen, saved and stopped
    assert not requeue(tmp_path, 128 + signal.SIGTERM, limit=3).again


def test_the_end_of_the_time_whose_code_is_hidden(tmp_path, calls, monkeypatch):
    monkeypatch.setattr("diffusion_lit.tracking.record._now", lambda: "2030-01-01T00:00:00+00:00")
    record = RunRecord(tmp_path)
    record.start({"seed": 0}, from_images_seen=0)
    record.end("SIGUSR1")
    found = requeue(tmp_path, 128 + signal.SIGTERM, limit=0)
    assert (found.again, found.why, found.crash) == (True, "the time was over", False)
    (tmp_path / "requeues.jsonl").write_text(json.dumps({"time": "2030-01-01T00:00:01+00:00", "crash": False}) + "\n")
    assert not requeue(tmp_path, 128 + signal.SIGTERM, limit=0).again, "that was the attempt before"


def test_the_end_is_left_alone(tmp_path, calls):
    assert main(["requeue", str(tmp_path / "run"), "0"]) == 0
    assert calls == []
    assert not (tmp_path / "run").exists()


def test_outside_of_a_job_the_mend_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match=r"no SLURM job.*resume=auto"):
        requeue(tmp_path, os.EX_TEMPFAIL, limit=3)


@pytest.mark.parametrize("words", [[], ["runs/x"], ["runs/x", "failed"], ["runs/x", "1", "steps=3"]])
def test_bad_words_are_told(words, capsys):
    assert main(["requeue", *words]) == 2
    assert "expected a run folder and an exit code" in capsys.readouterr().err
