"""The command line: quick help, hints, and one paragraph for every mistake."""

import json
import resource
import subprocess
import sys

import pytest

from diffusion_lit import __version__
from diffusion_lit.cli import COMMANDS, main

HEAVY = ["torch", "lightning", "hydra", "wandb", "webdataset", "torchvision", "numpy"]


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, json\n"
        "from diffusion_lit.cli import main\n"
        "main(['--help'])\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert all(name in done.stdout for name in COMMANDS)
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 0.5


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words, capsys):
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(f"  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"diffusion-lit {name}")
    assert f"    diffusion-lit {name}" in out


@pytest.mark.parametrize(("typed", "meant"), [("trian", "train"), ("samples", "sample"), ("repor", "report")])
def test_a_misspelt_command_gets_a_hint(typed, meant, capsys):
    assert main([typed]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_an_unknown_command_gets_the_list(capsys):
    assert main(["xyz"]) == 2
    err = capsys.readouterr().err
    assert "did you mean" not in err
    assert "doctor" in err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_ctrl_c_outside_of_training_has_no_traceback(monkeypatch, capsys):
    from diffusion_lit.commands import report

    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", interrupted)
    assert main(["report", "runs/x"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"
