"""The record of a run, and what the loggers are told of it."""

import pytest

from diffusion_lit.callbacks import Record
from diffusion_lit.data import Manifest
from diffusion_lit.tracking.jsonl import JsonlLogger
from diffusion_lit.tracking.record import RunRecord
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


class Listening(JsonlLogger):
    told: dict | None = None

    def log_hyperparams(self, params, *args, **kwargs):
        self.told = params


def test_loggers_are_told_the_configuration_and_the_run_is_recorded(root, tmp_path):
    config, logger = {"task_name": "x", "seed": 3, "tags": ["a"]}, Listening(tmp_path, 16)
    fit(tmp_path, root, make_module(), [Record(str(tmp_path), config, max_images=32)], 2, logger=logger)
    assert logger.told == config
    run = RunRecord(tmp_path).run
    assert (run["seed"], run["attempts"][0]["from_images_seen"]) == (3, 0)
    assert run["finished"] is not None
    assert run["data"]["shape"] == [1, 8, 8]
    manifest = Manifest.read(root)
    assert run["data"]["splits"]["train"]["images"] == manifest.count("train")
    # a record of thousands of shards is not written anew with each checkpoint
    assert [shard["name"] for shard in RunRecord(tmp_path).manifest["splits"]["test"]] == [
        shard.name for shard in manifest.shards("test")
    ]
