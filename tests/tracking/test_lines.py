import json
import math

import numpy as np
import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import lines


def test_encoding_is_valid_json_and_keeps_every_float32():
    scales = np.logspace(-30, 30, 200)
    values = (scales * np.random.default_rng(0).normal(size=200)).astype(np.float32)
    for value in values:
        text = lines.encode({"images_seen": 1, "loss": torch.tensor(float(value))})
        assert np.float32(lines.decode(text)["loss"]) == value


def test_what_json_has_no_number_for_comes_back():
    text = lines.encode({"images_seen": 128.0, "a": math.nan, "b": math.inf, "c": -math.inf})
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    line = lines.decode(text)
    assert (line["images_seen"], line["b"], line["c"]) == (128, math.inf, -math.inf)
    assert type(line["images_seen"]) is int
    assert math.isnan(line["a"])


@pytest.mark.parametrize("tail", ['{"images_seen": 384, "los', "{", '"images_seen"', '{"loss": 1.0}', "\x00\x00"])
def test_a_damaged_last_line_is_left_out_and_cut(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    whole = '{"images_seen": 128, "loss": 1.0}\n{"images_seen": 256, "loss": 0.5}\n'
    path.write_text(whole + tail)
    assert [line["images_seen"] for line in lines.read(path)] == [128, 256]
    assert path.read_text() == whole + tail
    assert lines.cut(path) == 2
    assert path.read_text() == whole


def test_a_whole_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"images_seen": 128}')
    assert lines.cut(path) == 1
    assert path.read_text() == '{"images_seen": 128}\n'


def test_damage_before_the_last_line_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"images_seen": 128}\nrubbish\n{"images_seen": 256}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2: 'rubbish'"):
        lines.cut(path, 128)
    assert "rubbish" in path.read_text()


@pytest.mark.parametrize(
    ("seen", "stay"), [(0, []), (128, [128]), (200, [128]), (256, [128, 256, 256]), (384, [128, 256, 256, 384])]
)
def test_cut_keeps_what_the_checkpoint_has_seen(tmp_path, seen, stay):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(lines.encode({"images_seen": n, "x": 0.1}) + "\n" for n in (128, 256, 256, 384)))
    assert lines.cut(path, seen) == len(stay)
    assert [line["images_seen"] for line in lines.read(path)] == stay


def test_a_missing_file_has_no_lines(tmp_path):
    assert lines.read(tmp_path / "none.jsonl") == []
    assert lines.cut(tmp_path / "none.jsonl", 128) == 0


def test_series_and_times():
    log = [{"images_seen": 1, "time": 2.0, "a": 3.0}, {"images_seen": 2, "b/seconds": 1.0}, {"images_seen": 3, "a": 4}]
    assert lines.series(log, "a") == ([1, 3], [3.0, 4.0])
    assert [lines.without_times(line) for line in log[:2]] == [{"images_seen": 1, "a": 3.0}, {"images_seen": 2}]
