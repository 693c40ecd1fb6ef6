"""The page while jobs run."""

import itertools
import os
import sys
import threading

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord, lines
from diffusion_lit.tracking.comparison.watch import follow, watch
from tracking.synthetic import CONFIG


def begin(folder, seed=0):
    RunRecord(folder).start(CONFIG | {"seed": seed})
    return folder


def log(folder, seen):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(lines.encode({"images_seen": seen, "time": float(seen), "train/loss": 1.0}) + "\n")


def test_only_what_was_written_is_read_again(tmp_path, monkeypatch):
    module, read = sys.modules[follow.__module__], []
    original = module.read_run
    monkeypatch.setattr(module, "read_run", lambda folder, *rest: read.append(folder.name) or original(folder, *rest))
    first, second = begin(tmp_path / "a"), begin(tmp_path / "b", 1)
    found = follow([tmp_path], clock=itertools.repeat(1e9).__next__)
    assert [run.state for run in next(found).runs] == ["starting", "starting"]
    assert next(found) is None
    log(first, 100)
    now = next(found)
    assert [run.state for run in now.runs] == ["running", "starting"]
    log(second, 50)
    with (second / "metrics.jsonl").open("a") as file:
        file.write('{"images_seen": 6')  # half a line
    assert [run.images_seen for run in next(found).runs] == [100, 50]
    assert read == ["a", "b", "a", "b"]


def test_a_run_that_joins_is_found_and_one_that_falls_silent_is_told(tmp_path):
    begin(tmp_path / "a")
    clock = iter([1e9, 1e9, 1e9 + 1e9])
    found = follow([tmp_path], clock=clock.__next__)
    assert len(next(found).runs) == 1
    begin(tmp_path / "b", 1)
    assert len(next(found).runs) == 2
    assert {run.state for run in next(found).runs} == {"silent"}


def test_a_resume_that_cuts_and_damage_are_no_end(tmp_path):
    run = begin(tmp_path / "a")
    for seen in (100, 200, 300):
        log(run, seen)
    found = follow([tmp_path], clock=itertools.repeat(1e9).__next__)
    assert next(found).runs[0].images_seen == 300
    RunRecord(run).start(CONFIG, from_images_seen=200)
    cut = next(found).runs[0]
    assert (cut.state, cut.images_seen) == ("resumed", 200)
    (run / "run.json").write_text('{"half')
    damaged = next(found).runs[0]
    assert damaged.state == "damaged"
    assert "run.json" in damaged.note
    os.rename(run, tmp_path.parent / "elsewhere")
    assert next(found).runs[0].state == "empty"


def test_a_baseline_that_has_not_begun_is_waited_for(tmp_path):
    begin(tmp_path / "a")
    found = follow([tmp_path], "batch_size=256", clock=itertools.repeat(1e9).__next__)
    assert next(found).baseline == 0
    RunRecord(tmp_path / "b").start(CONFIG | {"batch_size": 256})
    now = next(found)
    assert now.groups[now.baseline].name == "batch_size=256"
    with pytest.raises(UserError, match="no such folder"):
        next(follow([tmp_path / "none"]))


def test_the_page_is_written_whole_each_time_and_stays_behind_without_a_reload(tmp_path):
    run, out = begin(tmp_path / "runs" / "a"), tmp_path / "page.html"
    told = watch([tmp_path / "runs"], out, every=0.01)
    assert "1 " in next(told)
    assert '"every":0.01' in out.read_text()
    writer = threading.Timer(0.05, log, (run, 100))
    writer.start()
    next(told)  # comes when the line was written
    assert '"images_seen"' not in out.read_text().split("</script>")[0]
    assert '"lines":[[1.0]]' in out.read_text()
    writer.join()
    told.close()
    assert '"every":0' in out.read_text()
    assert not list(tmp_path.glob(".*part"))
