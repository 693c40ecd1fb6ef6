"""Every check is tried on what is well and on what is not."""

import os
import shutil
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from diffusion_lit.cluster.disk import Disk, existing
from diffusion_lit.cluster.plan import World
from diffusion_lit.cluster.preflight import Result, folder, installation, logging, reading, worst
from diffusion_lit.cluster.preflight.job import slurm
from diffusion_lit.configuration import plain, run_config
from diffusion_lit.data import Manifest, StreamLoader
from diffusion_lit.errors import UserError
from diffusion_lit.tracking.record import RunRecord

GIB = 2**30


def world(ranks: int = 1, workers: int = 0, parts: int = 1) -> World:
    return World(1, ranks, workers, parts, False, False, False)


def settings(shards: Path, *words: str) -> dict:
    return plain(run_config(["data=digits", "batch_size=16", f"paths.data={shards}", *words]))


def test_the_gravest_counts():
    results = [Result("ok", "a"), Result("--", "b", "do b"), Result("--", "c")]
    assert worst(results, "well") == Result("--", "b; c", "do b")
    assert worst([*results, Result("!!", "d", "do d")], "well") == Result("!!", "d", "do d")
    assert worst([], "well") == Result("ok", "well")


def test_versions_are_held_against_the_bounds_of_the_package(monkeypatch):
    assert installation.packages().mark == "ok"
    assert "torch" in installation.packages().found
    there = {"lightning": "2.7.1", "wandb": None}
    version = installation.version

    def told(name: str) -> str:
        if name not in there:
            return version(name)
        if (found := there[name]) is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(installation, "version", told)
    missing = installation.packages()
    assert (missing.mark, missing.found) == ("!!", "wandb is missing")
    assert "pip install 'wandb>=" in missing.mend
    there["wandb"] = version("wandb")
    other = installation.packages()
    assert other.mark == "--"
    assert "lightning 2.7.1, wanted is <2.7,>=2.6.4" in other.found


def test_python_is_held_against_the_bounds_of_the_package(monkeypatch):
    assert installation.python().mark == "ok"
    monkeypatch.setattr(installation.platform, "python_version", lambda: "3.9.1")
    assert installation.python().mark == "!!"


@pytest.mark.parametrize(
    ("number", "cores", "tasks", "workers", "variables", "mark", "mend"),
    [
        (4, 8, 2, 0, {}, "ok", ""),
        (8, 8, 2, 0, {}, "--", "export OMP_NUM_THREADS=4"),
        (8, 64, 1, 0, {"SLURM_CPUS_PER_TASK": "2"}, "--", "export OMP_NUM_THREADS=2"),
        (2, 1, 1, 0, {"SLURM_CPUS_PER_TASK": "2"}, "ok", ""),
        (1, 4, 1, 4, {}, "--", "cluster.cpus=5, or fewer data.num_workers"),
        (1, 4, 1, 3, {}, "ok", ""),
    ],
)
def test_threads_and_cores(number, cores, tasks, workers, variables, mark, mend):
    found = installation.threads(number, cores, tasks, workers, variables)
    assert (found.mark, found.mend) == (mark, mend)


@pytest.mark.parametrize(
    ("names", "built", "wanted", "accelerator", "elsewhere", "visible", "mark", "said"),
    [
        ([], False, 1, "cpu", False, None, "ok", "none is asked for"),
        (["A", "A"], True, 2, "gpu", False, None, "ok", "2 x A"),
        (["A"], True, 1, "cpu", False, None, "--", "trainer=gpu"),
        ([], False, 4, "gpu", True, None, "ok", "4 of each node"),
        ([], False, 1, "gpu", False, None, "!!", "build of torch"),
        ([], True, 1, "gpu", False, "", "!!", "unset CUDA_VISIBLE_DEVICES"),
        (["A"], True, 2, "cuda", False, "0", "!!", "trainer.devices=1"),
        ([], True, 1, "gpu", False, None, "!!", "nvidia-smi"),
    ],
)
def test_gpus(names, built, wanted, accelerator, elsewhere, visible, mark, said):
    found = installation.gpus(names, built, wanted, accelerator, elsewhere, visible)
    assert found.mark == mark
    assert said in found.found + found.mend


JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}
STEP = JOB | {"SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("variables", "devices", "nodes", "mark", "said"),
    [
        ({}, 2, 2, "ok", "not in a job"),
        ({"SLURM_NTASKS": "1"}, 1, 1, "--", "unset SLURM_NTASKS"),
        (STEP, 2, 2, "ok", "job 7, 2 nodes, 4 tasks"),
        (STEP, None, None, "ok", "4 tasks"),
        (STEP, 4, 2, "!!", "trainer.devices=2"),
        (STEP, 2, 1, "!!", "++trainer.num_nodes=2"),
        ({k: v for k, v in STEP.items() if k != "SLURM_NTASKS_PER_NODE"}, 2, 2, "!!", "--ntasks-per-node"),
        (JOB, 2, 2, "--", "srun diffusion-lit train"),
        (JOB | {"SLURM_JOB_NAME": "interactive"}, 1, 1, "ok", "starts processes itself"),
        (STEP | {"SLURM_PTY_PORT": "5"}, 2, 2, "--", "--job-name=interactive"),
        ({"SLURM_JOB_ID": "7"}, 1, 1, "ok", "one process"),
    ],
)
def test_slurm_variables(variables, devices, nodes, mark, said):
    found = slurm(variables, devices, nodes)
    assert found.mark == mark
    assert said in found.found + found.mend


def test_lightning_refuses_what_is_refused_here(monkeypatch):
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    environment = SLURMEnvironment(auto_requeue=False)
    environment.validate_settings(2, 2)
    for devices, nodes in ((4, 2), (2, 1)):
        with pytest.raises(ValueError, match="does not match"):
            environment.validate_settings(devices, nodes)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(RuntimeError, match="ntasks"):
        SLURMEnvironment(auto_requeue=False)


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    assert folder.writes(tmp_path).mark == "ok"
    assert folder.writes(tmp_path / "not" / "yet").mark == "ok"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def full(*_: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        found = folder.writes(tmp_path)
        assert found.mark == "!!"
        assert "No space left" in found.found
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        assert folder.writes(tmp_path).mark == "--"
    with monkeypatch.context() as patch:
        patch.setattr(folder.tempfile, "TemporaryDirectory", full)
        assert folder.writes(tmp_path).mark == "!!"
    assert not list(tmp_path.iterdir())


def test_locks(tmp_path, monkeypatch):
    assert folder.locks(tmp_path).mark == "ok"
    monkeypatch.setattr(folder, "hold", lambda path: path.open("a"))  # as where there are no locks
    assert folder.locks(tmp_path).mark == "--"


def test_clocks(tmp_path, monkeypatch):
    assert folder.clock(tmp_path).mark == "ok"
    now = time.time
    for shift, how in ((-100.0, "100 s before"), (100.0, "100 s behind")):
        monkeypatch.setattr(folder.time, "time", lambda shift=shift: now() + shift)
        found = folder.clock(tmp_path)
        assert found.mark == "--"
        assert how in found.found


def test_a_folder_that_holds_a_run(tmp_path):
    assert folder.occupied(tmp_path, "abc", False).found == "starts anew"
    record = RunRecord(tmp_path)
    identity = record.start({"seed": 0})
    assert folder.occupied(tmp_path, "abc", True).mark == "!!"
    assert "resume=auto" in folder.occupied(tmp_path, identity, False).mend
    assert folder.occupied(tmp_path, identity, True).mark == "ok"


def test_space(tmp_path, monkeypatch):
    disk = Disk.of({"callbacks": {"checkpoint": {"keep_every": 10}}, "max_images": 70}, GIB // 10, 0)
    assert (disk.files, disk.needed) == (10, 10 * (GIB // 10))
    for free, mark in ((5 * GIB, "ok"), (1.1 * GIB, "--"), (GIB // 2, "!!")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert folder.space(tmp_path, disk).mark == mark
    assert Disk.of({"callbacks": {"snapshots": {"every": 10}}, "max_images": 70}, 100, 7).needed == 3 * 100 + 8 * 7
    assert existing(tmp_path / "a" / "b") == tmp_path


def test_the_cache(tmp_path, monkeypatch):
    assert folder.cache(None, 20.0).mark == "ok"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * GIB))
    assert folder.cache(str(tmp_path / "cache"), 5.0).mark == "ok"
    assert folder.cache(str(tmp_path / "cache"), 20.0).mark == "--"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert folder.cache(str(tmp_path), 5.0).mark == "!!"


def wandb(offline: bool) -> dict:
    return {"wandb": {"_target_": "diffusion_lit.tracking.wandb.WandbLogger", "offline": offline}}


def test_wandb(monkeypatch):
    asked: list[str] = []

    def get(url: str, timeout: float) -> None:
        asked.append(url)
        assert timeout <= 2.0
        if "down" in url:
            raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(requests.utils, "get_netrc_auth", lambda _: None)
    assert logging.wandb_mode({}, {}).mark == "ok"
    assert "offline" in logging.wandb_mode(wandb(True), {}).found
    assert "offline" in logging.wandb_mode(wandb(False), {"WANDB_MODE": "offline"}).found
    assert logging.wandb_mode(wandb(False), {"WANDB_MODE": "disabled"}).mark == "ok"
    assert not asked, "offline means offline"
    online = {"WANDB_BASE_URL": "http://up.example"}
    assert logging.wandb_mode(wandb(False), online).mend == "wandb login"
    assert logging.wandb_mode(wandb(False), online | {"WANDB_API_KEY": "x" * 40}).mark == "ok"
    down = logging.wandb_mode(wandb(False), {"WANDB_BASE_URL": "http://down.example"})
    assert down.mark == "--"
    assert "does not answer" in down.found


def test_shards_that_are_not_packed(tmp_path, shards):
    data = settings(tmp_path)["data"]
    assert reading.packed(data, world()).mark == "--"
    several = reading.packed(data, world(ranks=2))
    assert (several.mark, several.mend) == ("!!", f"diffusion-lit pack digits {tmp_path}/digits")
    assert reading.packed(settings(shards)["data"], world(ranks=2)) is None


def test_shards_that_are_damaged(tmp_path, shards):
    shutil.copytree(shards / "digits", tmp_path / "digits")
    manifest = Manifest.read(tmp_path / "digits")
    assert reading.whole(manifest).mark == "ok"
    first, second, *_ = [shard for split in manifest.splits for shard in manifest.shards(split)]
    shard = tmp_path / "digits" / second.name
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="SHA-256"):
        reading.whole(manifest)
    some = reading.whole(manifest, most=first.bytes // 2)
    assert (some.mark, " 1 of " in some.found) == ("ok", True)


def test_lanes_and_readers(shards):
    told, manifest = settings(shards), Manifest.read(shards / "digits")
    found = reading.lanes(manifest, told, world(ranks=2, workers=2))
    assert found.mark == "ok"
    assert "none read twice in a pass, none missed" in found.found
    with pytest.raises(UserError, match="3 ranks"):
        reading.lanes(manifest, told, world(ranks=3))
    parts = reading.lanes(manifest, told, world(parts=3))
    assert (parts.mark, parts.mend) == ("!!", "trainer.accumulate_grad_batches=2")


def test_reading_processes_read_what_they_should(shards, monkeypatch):
    manifest = Manifest.read(shards / "digits")
    told = settings(shards, "data.start_method=fork")
    assert "not used" in reading.start_method(manifest, told, world()).found
    found = reading.start_method(manifest, told, world(ranks=2, workers=1))
    assert (found.mark, "fork (data.start_method)" in found.found) == ("ok", True)
    kept = StreamLoader.__init__

    def confused(self, *arguments, num_workers: int, rank: int, **more) -> None:  # workers think that they are rank 0
        kept(self, *arguments, num_workers=num_workers, rank=0 if num_workers else rank, **more)

    monkeypatch.setattr(StreamLoader, "__init__", confused)
    assert reading.start_method(manifest, told, world(ranks=2, workers=1)).mark == "!!"
