"""What the README tells a newcomer to type exists; tests/commands runs the commands themselves."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from diffusion_lit.cli import COMMANDS
from diffusion_lit.configuration import run_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^ {4}diffusion-lit (.+)$", README, flags=re.MULTILINE)


def test_every_command_is_shown() -> None:
    assert {shlex.split(line)[0] for line in LINES} == set(COMMANDS)


@pytest.mark.parametrize("line", [line for line in LINES if shlex.split(line)[0] in {"train", "doctor"}])
def test_overrides_compose(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not word.startswith("cluster.")]  # those are `submit`'s
    assert run_config(words).run_identity


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README)) - {"an"}
    assert named <= targets


def test_tree_is_there() -> None:
    block = README.split("## The tree")[1].split("Read in this order")[0]
    for path in re.findall(r"^ {4,6}(\S+)", block, flags=re.MULTILINE):
        assert (ROOT / path).exists() or (ROOT / "diffusion_lit" / path).exists(), path


def test_python_names_exist() -> None:
    code = README.split("```python")[1].split("```")[0]
    for module, names in re.findall(r"^from (\S+) import (.+)$", code, flags=re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(import_module(module), name), (module, name)


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
