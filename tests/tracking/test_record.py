import json

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord, lines, run_identity

CONFIG = {"task_name": "demo", "tags": ["a"], "seed": 3, "model": {"width": 32}, "paths": {"run": "/x"}}


def test_start_writes_what_the_run_is(tmp_path):
    record = RunRecord(tmp_path / "demo")
    assert not record.exists
    identity = record.start(CONFIG, network={"parameters": 7}, data={"name": "digits"})
    run = json.loads((tmp_path / "demo" / "run.json").read_text())
    assert run["identity"] == identity == run_identity(CONFIG)
    assert (run["task_name"], run["tags"], run["seed"]) == ("demo", ["a"], 3)
    assert (run["network"], run["data"], run["finished"]) == ({"parameters": 7}, {"name": "digits"}, None)
    assert run["hardware"]["cores"] >= 1
    assert [attempt["from_images_seen"] for attempt in run["attempts"]] == [0]
    assert record.config == CONFIG


def test_a_second_attempt_goes_on_and_cuts_the_metrics_past_its_checkpoint(tmp_path):
    record = RunRecord(tmp_path)
    record.start(CONFIG, network={"parameters": 7})
    record.progress(10.0, 32)
    text = "".join(lines.encode({"images_seen": n, "loss": 1.0}) + "\n" for n in (128, 256, 384))
    (tmp_path / "metrics.jsonl").write_text(text)
    record.start(CONFIG | {"paths": {"run": "/y"}, "resume": "auto"}, from_images_seen=256)
    record.progress(1.0, 48)
    record.finish(5.5, 64)
    assert [attempt["from_images_seen"] for attempt in record.run["attempts"]] == [0, 256]
    assert record.run["train_seconds"] == 15.5
    assert record.run["network"] == {"parameters": 7}
    assert record.run["finished"]
    assert record.series("loss") == ([128, 256], [1.0, 1.0])


def test_a_folder_of_another_run_is_left_alone(tmp_path):
    record = RunRecord(tmp_path)
    first = record.start(CONFIG)
    (tmp_path / "metrics.jsonl").write_text('{"images_seen": 128}\n')
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    other = CONFIG | {"seed": 4, "model": {"width": 64}}
    with pytest.raises(UserError) as caught:
        record.start(other)
    for words in (first, run_identity(other), "model.width: 32 there, 64 now", "seed: 3 there, 4 now", "task_name="):
        assert words in str(caught.value)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_the_summary_comes_back(tmp_path):
    record = RunRecord(tmp_path)
    assert record.summary == {}
    record.write_summary({"psnr_hidden/sample": 12.25, "images_seen": 128, "fd_alex/model": float("inf")})
    assert record.summary == {"psnr_hidden/sample": 12.25, "images_seen": 128, "fd_alex/model": float("inf")}


def test_no_run_and_a_damaged_run_are_named(tmp_path):
    with pytest.raises(UserError, match="no run was started here"):
        _ = RunRecord(tmp_path).run
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: is not valid JSON"):
        _ = RunRecord(tmp_path).run
