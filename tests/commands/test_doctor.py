"""The table of `doctor` and its exit code."""

from importlib.metadata import version

import pytest

from diffusion_lit.cli import main
from diffusion_lit.commands import doctor
from tests.commands.small import LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def marks(out: str) -> dict[str, str]:
    return {line[4:18].strip(): line[:2] for line in out.splitlines()}


def test_alone_it_checks_the_installation(capsys):
    assert main(["doctor"]) == 0
    found = marks(capsys.readouterr().out)
    assert list(found) == ["python", "packages", "threads", "gpu", "slurm", "metric weights", "report"]
    assert "!!" not in found.values()


def test_a_run_is_checked_and_nothing_is_left(shards, tmp_path, capsys):
    assert main(["doctor", *SMALL, f"paths.data={shards}", "logger=default"]) == 0
    out = capsys.readouterr().out
    found = marks(out)
    names = ["run", "run folder", "locks", "clock", "disk", "cache", "w&b", "shards", "lanes", "start method"]
    assert list(found)[-len(names) :] == names
    assert "!!" not in found.values()
    assert "3 checkpoints" not in out  # keep_every=128 keeps two more
    assert "offline" in out
    assert "1,444 train" in out
    assert not list(tmp_path.iterdir())


def test_what_stops_a_run_is_2_and_has_its_mend(shards, capsys, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    words = [*SMALL, f"paths.data={shards}", "trainer=ddp_sim", "data.lanes=3"]
    assert main(["doctor", *words]) == 2
    out = capsys.readouterr().out
    found = marks(out)
    assert (found["slurm"], found["lanes"]) == ("!!", "!!")
    assert "-> trainer.devices=4" in out
    assert "start method" not in found


def test_a_job_is_checked_as_it_would_be_submitted(shards, capsys):
    words = ["doctor", *SMALL, f"paths.data={shards}", "cluster.nodes=2", "cluster.gpus=4", "cluster.cpus=1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "2 nodes x 4 GPUs" in out
    assert "4 of each node asked for" in out


def test_a_configuration_that_does_not_compose(capsys):
    assert main(["doctor", "experiment=nothing"]) == 2
    found = marks(capsys.readouterr().out)
    assert found["configuration"] == "!!"
    assert found["python"] == "ok"


@pytest.mark.parametrize("banned", ["2.6.2", "2.6.3"])
def test_malware_is_told_before_anything_is_imported(capsys, monkeypatch, banned):
    monkeypatch.setattr(doctor, "version", lambda name: banned if name == "lightning" else version(name))
    assert main(["doctor"]) == 2
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("!!")
    assert "GHSA-w37p-236h-pfx3" in line
