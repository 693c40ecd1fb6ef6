"""Small packs, made once."""

from pathlib import Path

import pytest

from diffusion_lit.data import Manifest, pack


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The digits in 8 training shards."""
    return pack("digits", tmp_path_factory.mktemp("packs") / "digits", progress=False)


@pytest.fixture
def damaged(digits: Manifest, tmp_path: Path) -> Path:
    """A copy of the digits to damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in Path(digits.root).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
