"""The evaluations of a run, built once and run at any of its checkpoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from diffusion_lit import checkpoint
from diffusion_lit.callbacks import EMA, Periodic
from diffusion_lit.commands.build import build_all, build_data, build_module, build_trainer
from diffusion_lit.configuration import override, plain, settled
from diffusion_lit.errors import UserError
from diffusion_lit.files import write_text
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.wandb import WandbLogger

__all__ = ["Evaluations", "evaluation_config", "update_wandb"]


def evaluation_config(record: RunRecord, words: Sequence[str]) -> DictConfig:
    """The configuration of a run as it is evaluated.

    Args:
        record: of the run.
        words: key=value changes a key, ~key leaves one out.

    Raises:
        UserError: no run, or a key that it does not have.
    """
    there = record.config
    config = OmegaConf.create(there)
    if not there:
        raise UserError(f"{record.folder}: has no config.yaml, so it is no run; evaluate takes a run folder")
    for word in (word[1:] for word in words if word.startswith("~")):
        parent, _, key = word.rpartition(".")
        if OmegaConf.select(config, word) is None:
            raise UserError(f"~{word}: {record.folder}/config.yaml has no such key to leave out")
        (OmegaConf.select(config, parent) if parent else config).pop(key)
    override(config, [word for word in words if not word.startswith("~")])
    return settled(config, there, record.folder)


def update_wandb(loggers: DictConfig) -> None:
    """Send to W&B what was measured after training, if it is one of the loggers."""
    for logger in build_all(loggers).values():
        if isinstance(logger, WandbLogger):
            logger.update()


class Evaluations:
    """What `diffusion-lit evaluate` measures, on all processes of its Trainer.

    Args:
        config: of the run; its `evaluation`, `trainer` and `logger` are used.

    Raises:
        UserError: nothing is held out, or something cannot be built.
    """

    def __init__(self, config: DictConfig):
        self.config = config
        self.data, self.module, self.ema = build_data(config), build_module(config), EMA([])
        self.entries: dict[str, Periodic] = build_all(config.evaluation)
        self.trainer = build_trainer(config, {"ema": self.ema, **self.entries})
        if "test" not in self.data.splits:
            raise UserError(
                f"{config.data.root}: has no test split, so there is nothing held out to evaluate on; pack one"
            )

    def at(self, path: Path, state: Mapping[str, Any]) -> dict[str, float]:
        """Run all of them with the weights of a checkpoint; return their numbers and the test loss, by full name.

        Args:
            path: of the checkpoint.
            state: what `checkpoint.read` returned for it.
        """
        checkpoint.put(checkpoint.weights(state, 0.0, path), self.module.denoiser, path)
        self.module.trained_images = state["diffusion_lit"]["images_seen"]
        self.ema.averages = state.get("ema", {})
        [test] = self.trainer.test(self.module, datamodule=self.data, verbose=False)
        metrics = {name: float(value) for name, value in test.items()}
        for entry in self.entries.values():
            metrics |= entry.latest
        return metrics

    @property
    def baselines(self) -> list[str]:
        """Names of what restorations are compared with."""
        return [name for entry in self.entries.values() for name in getattr(entry.evaluator, "baselines", {})]

    def describe(self, folder: Path) -> None:
        """Write into evaluation.yaml how each number is measured, for those who compare it."""
        told = folder / "evaluation.yaml"
        before = yaml.safe_load(told.read_text(encoding="utf-8")) if told.exists() else {}
        write_text(told, yaml.safe_dump(before | plain(self.config)["evaluation"]))
