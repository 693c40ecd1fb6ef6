"""The digits, packed once by the command."""

from pathlib import Path

import pytest

from diffusion_lit.cli import main


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert main(["pack", "digits", str(folder / "digits")]) == 0
    return folder
