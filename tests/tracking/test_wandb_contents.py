"""What of a run folder is sent, under which keys, and what is remembered of it."""

import json
import shutil
from pathlib import Path

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import lines
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.wandb_contents import Contents
from diffusion_lit.tracking.wandb_mark import Mark
from tracking.synthetic import make_run


def write(folder: Path, *values: dict[str, float]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        for line in values:
            file.write(lines.encode({"time": 5.0, **line}) + "\n")


def keys(items) -> list[str]:
    return [item.key for item in items]


def test_lines_are_read_as_they_come_and_never_by_halves(tmp_path):
    contents = Contents(tmp_path)
    assert contents.new() == []
    write(tmp_path, {"images_seen": 8, "loss": 2.0}, {"images_seen": 8, "fd": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"images_seen": 16, "lo')
    first = contents.new()
    assert [dict(item.values) for item in first] == [{"images_seen": 8, "loss": 2.0}, {"images_seen": 8, "fd": 1.0}]
    assert first[0].time == 5.0
    assert contents.new() == []
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('ss": 1.0}\n')
    assert [dict(item.values) for item in contents.new()] == [{"images_seen": 16, "loss": 1.0}]
    write(tmp_path, {"images_seen": 24, "loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("no line\n")
    with pytest.raises(UserError, match="no line"):
        contents.new()


def test_a_replay_has_the_same_keys_and_an_attempt_a_new_one(tmp_path):
    contents = Contents(tmp_path)
    write(tmp_path, {"images_seen": 0, "attempt": 1}, {"images_seen": 8, "loss": 2.0}, {"images_seen": 8, "loss": 2.5})
    write(tmp_path, {"images_seen": 16, "loss": 1.0})
    first = keys(contents.new())
    assert len(set(first)) == 4
    lines.cut(tmp_path / "metrics.jsonl", 8)
    write(tmp_path, {"images_seen": 8, "attempt": 2}, {"images_seen": 16, "loss": 1.1})
    second = keys(contents.new())
    assert second[:3] == first[:3]
    assert second[3] not in first
    assert second[4] == first[3]


def test_what_a_follower_measured_is_new_though_training_logged_the_same_names_there(tmp_path):
    contents = Contents(tmp_path)
    write(tmp_path, {"images_seen": 8, "fd": 2.0}, {"images_seen": 16, "fd": 1.0})
    first = keys(contents.new())
    record = RunRecord(tmp_path)
    record.log_followed({"images_seen": 8, "time": 9.0, "fd": 3.0})
    [late] = contents.new()
    assert (late.images_seen, late.values["fd"], late.time) == (8, 3.0, 9.0)
    assert late.key not in first
    record.cut_followed(0)
    assert contents.new() == []
    record.log_followed({"images_seen": 8, "time": 10.0, "fd": 3.0})
    assert keys(contents.new()) == [late.key], "a replay"
    assert set(keys(Contents(tmp_path).new())) == {*first, late.key}


def test_a_picture_is_new_when_its_pixels_are(tmp_path):
    run = make_run(tmp_path / "run")
    contents = Contents(run)
    items = contents.new()
    pictures = [item for item in items if item.picture]
    assert (len(items), len(pictures)) == (130, 25)
    assert [item.images_seen for item in pictures] == sorted(item.images_seen for item in pictures)
    assert contents.new() == []
    path = run / "samples" / "000002560.png"
    path.write_bytes(path.read_bytes())  # as a replay does
    [again] = contents.new()
    assert again.key in keys(pictures)
    shutil.copy(run / "samples" / "000005120.png", path)
    [other] = contents.new()
    assert other.key not in keys(pictures)
    (run / "samples" / "000099999.png").write_bytes(b"half of an evaluation: its JSON comes last")
    assert contents.new() == []


def test_the_mark_forgets_what_never_arrived(tmp_path):
    path = tmp_path / "mark.txt"
    mark = Mark(path)
    assert [mark.add(key) for key in ("a", "b", "c")] == [0, 1, 2]
    path.write_text(path.read_text() + "half")
    mark = Mark(path)
    assert mark.keys == ["a", "b", "c"]
    mark.settle(2, ["a", "b", "c", "d"])
    assert ("b" in mark, "c" in mark) == (True, False)
    assert [mark.add("d"), mark.add("c")] == [2, 3]
    assert Mark(path).keys == ["a", "b", "d", "c"]


def test_a_lost_mark_is_made_anew(tmp_path):
    mark = Mark(tmp_path / "mark.txt")
    mark.settle(2, ["a", "b", "c"])
    assert mark.keys == ["a", "b"]
    mark.settle(4, ["c"])  # rows that nobody knows
    assert mark.keys == ["a", "b", "c", "?"]
    assert Mark(None).add("a") == 0


def test_what_is_told_of_a_restoration_is_what_its_picture_shows(tmp_path):
    import torch

    from diffusion_lit.callbacks.pictures import Picture
    from diffusion_lit.tracking.wandb_media import ROWS, media

    rows, columns = 70, ["truth", "measurement", "sample 1", "mean", "standard deviation"]
    grey = torch.linspace(-1, 1, rows * 5).reshape(rows, 5, 1, 1, 1).expand(rows, 5, 1, 4, 6)
    scores = {"psnr": [float(i) for i in range(rows)], "lpips": [0.5] * rows}
    about = {"operator": "box", "method": "dps", "columns": columns, "ids": list(range(rows)), "scores": scores}
    Picture("restorations/{images_seen}/box--dps", grey, about).write(tmp_path, 8)
    shown = media(tmp_path / "restorations" / "000000008" / "box--dps.png")
    assert list(shown) == ["pictures/box--dps", "tables/box--dps"]
    table = shown["tables/box--dps"]
    assert table.columns == ["id", "degraded", "restored", "truth", "PSNR", "LPIPS"]
    assert len(table.data) == ROWS
    for row, (name, *images, psnr, lpips) in enumerate(table.data):
        assert (name, psnr, lpips) == (str(row), float(row), 0.5)
        for image, column in zip(images, ("measurement", "mean", "truth"), strict=True):
            assert (image.image.width, image.image.height) == (6, 4)
            wanted = round(float((grey[row, columns.index(column), 0, 0, 0] + 1) * 127.5))
            assert set(image.image.convert("L").get_flattened_data()) == {wanted}
    assert json.loads((tmp_path / "restorations" / "000000008" / "box--dps.json").read_text())["cell"] == [4, 6]
