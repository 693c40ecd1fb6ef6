import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import lines
from diffusion_lit.tracking.jsonl import JsonlLogger


def test_every_call_is_a_line_on_disk_at_once(tmp_path):
    logger = JsonlLogger(tmp_path / "run", batch_size=128)
    logger.log_metrics({"train/loss": torch.tensor(0.5)}, step=3)
    assert lines.read(logger.path)[0].items() >= {"images_seen": 384, "train/loss": 0.5}.items()
    logger.log_metrics({"fd": 1.5, "images_seen": 500.0, "epoch": 0})
    second = lines.without_times(lines.read(logger.path)[1])
    assert second == {
        "images_seen": 500,
        "fd": 1.5,
        "epoch": 0,
    }


def test_a_resumed_run_leaves_what_an_uninterrupted_one_leaves(tmp_path):
    def log(logger, steps):
        for step in steps:
            logger.log_metrics({"train/loss": 1 / step}, step=step)
            if step % 2 == 0:
                logger.log_metrics({"fd": 3.0 / step, "images_seen": 10 * step}, step=step)

    whole = JsonlLogger(tmp_path / "whole", batch_size=10)
    log(whole, range(1, 9))
    log(JsonlLogger(tmp_path / "killed", batch_size=10), range(1, 6))
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"images_seen": 60, "train/lo')
    resumed = JsonlLogger(tmp_path / "killed", batch_size=10)
    resumed.cut(40)
    log(resumed, range(5, 9))
    with_times = [lines.read(logger.path) for logger in (whole, resumed)]
    assert [lines.without_times(line) for line in with_times[0]] == [
        lines.without_times(line) for line in with_times[1]
    ]
    assert all("time" in line for line in with_times[1])


def test_a_new_logger_does_not_append_to_a_damaged_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"images_seen": 10}\n{"images_se')
    JsonlLogger(tmp_path, batch_size=10).log_metrics({"x": 1.0}, step=2)
    assert [line["images_seen"] for line in lines.read(tmp_path / "metrics.jsonl")] == [10, 20]


def test_lightning_finds_the_checkpoint_folder_in_the_run(tmp_path):
    logger = JsonlLogger(tmp_path, batch_size=1)
    assert (logger.save_dir, logger.name, logger.version) == (str(tmp_path), "", "")


def test_what_cannot_be_counted_or_written_is_an_error(tmp_path):
    with pytest.raises(UserError, match="without a step"):
        JsonlLogger(tmp_path, batch_size=1).log_metrics({"x": 1.0})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        JsonlLogger(tmp_path / "file", batch_size=1).log_metrics({"x": 1.0}, step=1)
