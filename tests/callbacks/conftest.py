"""The digits, packed once."""

from pathlib import Path

import pytest

from diffusion_lit.data import ShardsDataModule, pack


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("packs") / "digits"
    pack("digits", folder, progress=False)
    return str(folder)


@pytest.fixture(scope="session")
def data(root: str) -> ShardsDataModule:
    return ShardsDataModule(root, 16)
