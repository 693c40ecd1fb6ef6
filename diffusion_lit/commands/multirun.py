"""`diffusion-lit train -m`: Hydra's own sweeps, in this process or by one of Hydra's launchers."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hydra
from omegaconf import DictConfig, ListConfig

from diffusion_lit.cluster.axes import spread
from diffusion_lit.configuration import config_folder, named, run_config
from diffusion_lit.errors import UserError

__all__ = ["sweep"]

FLAGS = {"-m", "--multirun"}
OWN_JOBS = ("submitit", "submitit_slurm")  # launchers whose runs get as many processes as their trainers want


def sweep(words: Sequence[str], fit: Callable[[DictConfig], int]) -> int:
    """Train every combination of the axes; a sweep that is called again goes on.

    Args:
        words: what follows `diffusion-lit train`: overrides, axes, Hydra's flags.
        fit: trains a run and returns its exit code.

    Raises:
        UserError: a run whose configuration does not fit, or whose processes would each start the whole sweep.
    """
    words = [*words, "resume=auto"]
    overrides = [word for word in words if not word.startswith("-")]
    launcher = next((word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")), "basic")
    if not any(word.startswith("hydra/sweeper=") for word in overrides):  # other sweepers have their own axes
        common, elements = spread(overrides)
        for element in elements:
            _check(run_config([*common, *element]), launcher)

    def task(config: DictConfig) -> None:
        _check(config, launcher)
        if code := fit(named(config)):
            raise SystemExit(code)  # stopped by a signal: the runs that follow shall not start

    main = hydra.main(config_path=str(config_folder()), config_name="train", version_base="1.3")(task)
    with _arguments(words):
        main()
    return 0


def _check(config: DictConfig, launcher: str) -> None:
    devices = config.trainer.devices
    count = len(devices) if isinstance(devices, ListConfig) else devices
    several = config.trainer.get("num_nodes", 1) > 1 or str(count) != "1"
    if several and launcher not in OWN_JOBS:
        raise UserError(
            f"trainer.devices={devices}: each process of a run would start the whole sweep again. Use `diffusion-lit "
            "submit` with the same axes, hydra/launcher=submitit, or one process a run"
        )


@contextmanager
def _arguments(words: Sequence[str]) -> Iterator[None]:
    """Give Hydra its arguments, which it reads from sys.argv, and let it raise errors, which it would print."""
    before, told = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = ["diffusion-lit train", *words], "1"
    try:
        yield
    finally:
        sys.argv = before
        if told is None:
            del os.environ["HYDRA_FULL_ERROR"]
