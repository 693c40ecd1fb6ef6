"""Runs as they are found: whole, being written, cut, damaged."""

import json
import random
import shutil

import pytest
import yaml

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord, lines
from diffusion_lit.tracking.comparison import compare, write_page
from diffusion_lit.tracking.comparison.groups import group_runs
from diffusion_lit.tracking.comparison.lines import curves, training_seconds
from diffusion_lit.tracking.comparison.runs import find_runs, read_run
from tracking.synthetic import CONFIG, make_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("whole") / "run")


def started(folder, seed=0, logged=(), attempts=1, start=0):
    """A run that logged at the given images seen."""
    record = RunRecord(folder)
    for _ in range(attempts):
        record.start(CONFIG | {"seed": seed}, from_images_seen=start)
    text = [lines.encode({"images_seen": seen, "time": 1e9 + seen, "train/loss": 1.0}) + "\n" for seen in logged]
    (folder / "metrics.jsonl").write_text("".join(text))
    return folder


def now(folder):
    """Just after the last attempt started."""
    from datetime import datetime

    told = json.loads((folder / "run.json").read_text())["attempts"][-1]["started"]
    return datetime.fromisoformat(told).timestamp() + 1


def test_runs_are_found_in_folders_at_any_depth_and_by_patterns(tmp_path):
    for name in ("b/run-2", "b/run-10", "a"):
        started(tmp_path / name)
        (tmp_path / name / "checkpoints").mkdir()
    (tmp_path / "other").mkdir()
    assert [p.name for p in find_runs([tmp_path / "b", tmp_path / "a", tmp_path / "b"])] == ["run-10", "run-2", "a"]
    assert [p.name for p in find_runs([f"{tmp_path}/b/run-*"])] == ["run-10", "run-2"]
    assert find_runs([tmp_path / "other"]) == [tmp_path / "other"]
    with pytest.raises(UserError, match="no such folder"):
        find_runs([tmp_path / "none"])
    with pytest.raises(UserError, match="no run is given"):
        find_runs([])


def test_what_evaluate_was_told_counts(whole):
    other = whole.parent / "other"
    shutil.copytree(whole, other)
    evaluator = {"_target_": "diffusion_lit.callbacks.Restoration", "n": 16}
    (other / "evaluation.yaml").write_text(yaml.safe_dump({"restoration": {"evaluator": evaluator}}))
    assert read_run(whole, "x").config.get("evaluation") is None
    assert read_run(other, "x").config["evaluation"]["restoration"]["evaluator"]["n"] == 16
    shutil.rmtree(other)


def test_the_state_of_a_run(tmp_path):
    run = started(tmp_path / "run")
    assert read_run(tmp_path, "x").state == "empty"
    assert read_run(run, "x", now(run)).state == "starting"
    started(tmp_path / "again", logged=[64, 128], attempts=2, start=128)
    found = read_run(tmp_path / "again", "x", now(run))
    assert (found.state, found.note) == ("resumed", "attempt 2 goes on from 128 images")
    started(tmp_path / "more", logged=[64, 128, 192], attempts=2, start=128)
    assert read_run(tmp_path / "more", "x", now(run)).state == "running"
    assert read_run(tmp_path / "more", "x", now(run) + 1e5).state == "silent"
    RunRecord(run).end("SIGTERM")
    found = read_run(run, "x", now(run))
    assert (found.state, found.note) == ("stopped", "attempt 1 ended: SIGTERM")
    RunRecord(run).finish(1.0, 64)
    assert read_run(run, "x").state == "finished"


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "summary.json", "metrics.jsonl"])
def test_a_damaged_file_is_named_and_costs_no_other_run(whole, tmp_path, name):
    bad = make_run(tmp_path / "bad", seed=1)
    (bad / name).write_text('{"torn": [\n{]' if name != "config.yaml" else "a: [1\nb: }")
    found = compare([whole, bad])
    [run] = [run for run in found.runs if run.name == "bad"]
    assert run.state == "damaged"
    assert name in run.note or name == "config.yaml"
    page = write_page(found, tmp_path / "page.html").read_text()
    assert "damaged" in page
    assert "14.12" in page


def test_no_damage_whatever_is_a_crash(whole, tmp_path):
    rng = random.Random(0)
    files = {name: (whole / name).read_bytes() for name in ("run.json", "config.yaml", "summary.json", "metrics.jsonl")}
    odd = [
        b"",
        b"null",
        b"[]",
        b"3",
        b'{"a": {"b": []}}',
        b"\xff\xfe\x00",
        b'{"attempts": 3, "data": [], "network": "x"}',
    ]
    for trial in range(60):
        folder = tmp_path / f"run-{trial}"
        folder.mkdir()
        for name, content in files.items():
            kind = rng.randrange(4)
            if kind == 0:
                content = content[: rng.randrange(len(content))]
            elif kind == 1:
                at = rng.randrange(len(content))
                content = content[:at] + bytes(rng.randrange(256) for _ in range(3)) + content[at + 3 :]
            elif kind == 2:
                content = rng.choice(odd)
            if rng.random() < 0.9:
                (folder / name).write_bytes(content)
        (folder / "samples").mkdir()
        (folder / "samples" / "000000100.png").write_bytes(b"no picture")
    found = compare([tmp_path, whole])
    assert len(found.runs) > 50
    assert len(found.text(100)) > 100
    assert found.csv().count("\n") > 3
    assert write_page(found, tmp_path / "page.html").stat().st_size > 10_000


def test_seconds_leave_out_waits_and_lost_work(tmp_path):
    run = read_run(started(tmp_path / "run", logged=[10, 20, 30, 40]), "x")
    run.record["attempts"] = [
        {"started": "2030-01-01T00:00:00+00:00", "from_images_seen": 0},
        {"started": "2030-01-01T01:00:00+00:00", "from_images_seen": 20},
    ]
    start = 1_893_456_000.0
    for line, after in zip(run.lines, (100, 200, 3650, 3700)):  # what it did from 200 to 3600 s was lost
        line["time"] = start + after
    assert training_seconds(run) == {10: 100.0, 20: 200.0, 30: 250.0, 40: 300.0}


def test_a_curve_of_several_seeds_has_a_mean_and_a_band(tmp_path):
    folders = [started(tmp_path / f"run-{s}", s, logged=[10, 20, 30][: 3 - s]) for s in range(2)]
    runs = [read_run(folder, folder.name) for folder in folders]
    for run, values in zip(runs, ([3.0, 2.0, float("nan")], [5.0, 4.0])):
        for line, value in zip(run.lines, values):
            line["train/loss"] = value
    [curve] = curves(runs, group_runs(runs)[0])
    [group] = curve["groups"]
    assert (group["n"], group["x"], group["interval"]) == (2, [10, 20, 30], False)
    assert group["lines"] == [[3.0, 2.0, None], [5.0, 4.0, None]]
    assert (group["mean"], group["low"], group["high"]) == ([4.0, 3.0, None], [3.0, 2.0, None], [5.0, 4.0, None])
    assert group["count"] == [2, 2, 0]
