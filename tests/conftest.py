"""What all tests share: one thread, and properties that are checked on the same examples every time."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # the tensors are small: more threads wait for each other, minutes on a busy machine
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # the first torch.func.jvp of a process loads rules that torch itself still writes in its deprecated TorchScript
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    # where SLURM is installed, Lightning says so of every run that is not under it
    config.addinivalue_line("filterwarnings", "ignore:The `srun` command is available")
    # omegaconf's DictConfig derives from typing.MutableMapping, which beartype would rather have from collections.abc
    config.addinivalue_line("filterwarnings", "ignore:.*PEP 484 type hint typing.MutableMapping")


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the digits, packed once by the command."""
    from diffusion_lit.cli import main

    folder = tmp_path_factory.mktemp("shards")
    assert main(["pack", "digits", str(folder / "digits")]) == 0
    return folder
