"""Build what a configuration describes."""

import logging
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from diffusion_lit.configuration import plain
from diffusion_lit.data import ShardsDataModule, pack
from diffusion_lit.data.places import is_local
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.errors import UserError
from diffusion_lit.metrics.features import extractor
from diffusion_lit.metrics.reference import Reference
from diffusion_lit.modules import DiffusionModule
from diffusion_lit.tracking.record import RunRecord

__all__ = [
    "build",
    "build_all",
    "build_data",
    "build_data_of",
    "build_module",
    "build_reference",
    "build_trainer",
    "quiet",
]

_references: dict[tuple[str, str], Reference] = {}


def build(config: Any, **arguments: Any) -> Any:
    """Instantiate a configuration with Hydra; a mistake in it becomes a UserError that names the place."""
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        raise UserError(f"the configuration cannot be built: {' '.join(str(error).split())}") from error


def build_data(config: DictConfig) -> ShardsDataModule | ToyDataModule:
    """The DataModule; shards are packed first if they are missing and the configuration says from what.

    Raises:
        UserError: no shards and nothing to pack, or images that are not of the configured shape.
    """
    if config.data.root is None:  # a toy is drawn, not read
        return build(config.data.datamodule)
    root = str(config.data.root)
    if config.data.get("pack") and is_local(root) and not Path(root, "manifest.json").exists():
        pack(**plain(config)["data"]["pack"], out=root)
    data = build(config.data.datamodule)
    found = data.manifest
    for name, here in {"shape": list(found.shape), "classes": found.classes}.items():
        told = plain(config)["data"].get(name, here)
        if told != here:
            raise UserError(f"data.{name}: {told} in the configuration, {here} in {root}; set data.{name}={here}")
    return data


@cache
def build_data_of(run: Path) -> ShardsDataModule | ToyDataModule:
    """The DataModule that a run was trained on, as its config.yaml says; made once."""
    return build_data(OmegaConf.create(RunRecord(run).config))


def build_reference(run: Path, extractor_name: str = "alex") -> Reference:
    """The training images of a run as an extractor sees them, which its samples are compared with.

    It is made once for all runs that were trained on the same images.

    Raises:
        UserError: the run was trained on a toy.
    """
    data = build_data_of(run)
    if not isinstance(data, ShardsDataModule):
        raise UserError(f"{run}: was trained on a toy, not on images; distances of features need images")
    key = data.manifest.identity, extractor_name
    if key not in _references:
        _references[key] = Reference(data.share("train"), extractor(extractor_name))
    return _references[key]


def build_module(config: DictConfig) -> DiffusionModule:
    """The LightningModule, its initial weights drawn by the seed."""
    seed_everything(config.seed, verbose=False)
    return build(config.model.module)


def build_all(entries: DictConfig) -> dict[str, Any]:
    """The objects of a group such as `callbacks` or `evaluation`, by name."""
    return {str(name): build(entry) for name, entry in entries.items()}


def build_trainer(config: DictConfig, callbacks: Mapping[str, Any], **arguments: Any) -> Trainer:
    """The Trainer with these callbacks and the configured loggers."""
    loggers = list(build_all(config.logger).values())
    if SLURMEnvironment.detect():
        # Lightning's own requeue saves in the signal's handler, which deadlocks: see GracefulStop
        arguments["plugins"] = SLURMEnvironment(auto_requeue=False)
    return build(config.trainer, callbacks=list(callbacks.values()), logger=loggers, **arguments)


def quiet() -> None:
    """Leave the terminal to what matters to the user."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # what a profiler was asked for
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning 2.6 with torch 2.13
    warnings.filterwarnings("ignore", ".*functional.all_gather is deprecated", FutureWarning)  # the same
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*but have no `validation_step`.*")
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    warnings.filterwarnings("ignore", ".*isn't a directory|.*exists and is not empty.*")
