from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from diffusion_lit.tracking.jsonl import JsonlLogger
from diffusion_lit.tracking.wandb import WandbLogger

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("choice", "offline"), [("none", None), ("default", True), ("wandb", False)], ids=["none", "default", "wandb"]
)
def test_every_logger_config_builds_its_loggers(tmp_path, choice, offline):
    root = {"run_identity": "3f2a9c81b0", "task_name": "demo", "batch_size": 128, "tags": ["a"]}
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        group = compose(overrides=[f"+logger={choice}"])
    loggers = instantiate(
        OmegaConf.merge(OmegaConf.to_container(group), root, {"paths": {"run": str(tmp_path)}}).logger
    )
    assert isinstance(loggers.jsonl, JsonlLogger)
    assert loggers.jsonl.path == tmp_path / "metrics.jsonl"
    assert list(loggers) == (
        ["jsonl"] if offline is None else ["jsonl", "wandb"]
    )  # lines are written before they are read
    if offline is not None:
        assert isinstance(loggers.wandb, WandbLogger)
        assert (loggers.wandb.folder, loggers.wandb.target.offline) == (tmp_path, offline)
