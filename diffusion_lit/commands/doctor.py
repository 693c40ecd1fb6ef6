"""diffusion-lit doctor [overrides of a training] [cluster.key=value]

Check what would stop a run, or spoil it, before it waits in a queue: versions, threads, GPUs, SLURM's variables, the
weights that metrics need and, with the overrides of a training, its configuration, the run folder (writing, locks,
clock, disk), its shards and who reads them, and W&B. A line a check: ok, -- (worth to know), !! (would stop the run),
and after -> how to mend it. Exits with 2 if there is a !!.

    diffusion-lit doctor
    diffusion-lit doctor experiment=mnist trainer=ddp
    diffusion-lit doctor experiment=mnist cluster.nodes=2 cluster.gpus=4     as `submit` would run it
"""

import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_lit.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from diffusion_lit.cluster import Cluster
    from diffusion_lit.cluster.plan import World
    from diffusion_lit.cluster.preflight import Result

__all__ = ["run"]


def run(words: list[str]) -> int:
    marks: list[str] = []

    def check(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Print what a check found; what it returns besides a Result is handed on."""
        from diffusion_lit.cluster.preflight.result import Result

        try:
            found = function(*arguments)
        except (UserError, OSError) as error:
            found = Result("!!", " ".join(str(error).split()))
        if isinstance(found, Result):
            marks.append(found.mark)
            mend = f"  -> {found.mend}" if found.mend else ""
            print(f"{found.mark}  {name:<14}  {found.found}{mend}", flush=True)
        return found

    if (found := _malware()) is not None:  # first of all: importing it is what must not happen
        print(f"!!  lightning       {found}")
        return 2
    from diffusion_lit.cluster.preflight import installation, job
    from diffusion_lit.cluster.preflight.result import Result
    from diffusion_lit.commands.build import quiet

    quiet()
    check("python", installation.python)
    check("packages", installation.packages)
    composed = check("configuration", _composed, words) if words else None
    config, cluster, world = composed if isinstance(composed, tuple) else (None, None, None)
    if config is not None:
        check("configuration", lambda: Result("ok", f"composes; the run is {config.run_identity}"))
    check("threads", _threads, world, cluster)
    check("gpu", _gpus, config, cluster, world)
    here = None if cluster is not None else world
    check("slurm", job.slurm, os.environ, here.tasks if here else None, here.nodes if here else None)
    check("metric weights", _metric_weights, config)
    check("report", _report)
    if config is not None and world is not None:
        _look_at_run(check, config, world)
    return 2 if "!!" in marks else 0


def _look_at_run(check: Callable[..., Any], config: "DictConfig", world: "World") -> None:
    """The checks of one training."""
    from diffusion_lit.cluster.preflight import folder, logging, reading
    from diffusion_lit.configuration import plain
    from diffusion_lit.data import Manifest

    settings, run = plain(config), Path(str(config.paths.run))
    check("run", folder.occupied, run, str(config.run_identity), config.resume is not None)
    check("run folder", folder.writes, run)
    check("locks", folder.locks, run)
    check("clock", folder.clock, run)
    check("disk", _space, config, settings)
    check("cache", folder.cache, settings["data"].get("cache"), float(settings["data"].get("cache_gib", 0.0)))
    check("w&b", logging.wandb_mode, settings["logger"], os.environ)
    if settings["data"]["root"] is None or check("shards", reading.packed, settings["data"], world) is not None:
        return
    manifest = check("shards", Manifest.read, str(config.data.root))
    if not isinstance(manifest, Manifest):
        return
    check("shards", reading.whole, manifest)
    if check("lanes", reading.lanes, manifest, settings, world).mark != "!!":
        check("start method", reading.start_method, manifest, settings, world)


def _malware() -> str | None:
    """Name a release of Lightning that ran foreign code when it was imported, without importing it."""
    for package in ("lightning", "pytorch-lightning"):
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        if found in ("2.6.2", "2.6.3"):
            return (
                f"{package} {found} is malware (GHSA-w37p-236h-pfx3)  -> delete this environment, change the keys that "
                "were on this machine, install lightning>=2.6.4"
            )
    return None


def _composed(words: list[str]) -> "tuple[DictConfig, Cluster | None, World]":
    """The configuration of the training, the cluster if it is named, and the processes."""
    import torch

    from diffusion_lit.cluster import Cluster
    from diffusion_lit.cluster.plan import World
    from diffusion_lit.configuration import compose_config, plain, run_config

    resources = [word for word in words if word.lstrip("+~").partition("=")[0].split(".")[0] == "cluster"]
    rest = [word for word in words if word not in resources]
    cluster = Cluster.read(plain(compose_config("submit", resources))["cluster"]) if resources else None
    config = run_config([*rest, *(cluster.trainer(rest) if cluster else [])])
    settings = plain(config)
    workers = settings["data"].get("num_workers", 0)
    return config, cluster, World.read(settings["trainer"], workers, torch.cuda.device_count())


def _threads(world: "World | None", cluster: "Cluster | None") -> "Result":
    import torch

    from diffusion_lit.cluster.preflight.installation import threads

    variables: Mapping[str, str] = os.environ
    number, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    if cluster is not None:  # its file sets OMP_NUM_THREADS to the cores of a process
        number, variables = cluster.cpus, {"SLURM_CPUS_PER_TASK": str(cluster.cpus)}
    workers = 0 if world is None else world.workers
    return threads(number, cores, 1 if world is None else world.tasks, workers, variables)


def _gpus(config: "DictConfig | None", cluster: "Cluster | None", world: "World | None") -> "Result":
    import torch

    from diffusion_lit.cluster.preflight.installation import gpus

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if config is None or world is None:
        return gpus(names, True, 0, "gpu", False, visible)
    built = torch.version.cuda is not None or torch.version.hip is not None
    elsewhere = cluster is not None and "SLURM_JOB_ID" not in os.environ
    return gpus(names, built, world.tasks, str(config.trainer.accelerator), elsewhere, visible)


def _space(config: "DictConfig", settings: dict[str, Any]) -> "Result":
    from diffusion_lit.cluster.disk import Disk
    from diffusion_lit.cluster.measure import optimizer_states
    from diffusion_lit.cluster.memory import checkpoint_bytes
    from diffusion_lit.cluster.preflight.folder import space
    from diffusion_lit.commands.build import build_module

    module = build_module(config)
    weights = sum(parameter.nbytes for parameter in module.denoiser.parameters())  # type: ignore[union-attr]
    averages = len(settings["callbacks"].get("ema", {}).get("widths", []))
    checkpoint = checkpoint_bytes(weights, optimizer_states(module.make_optimizer), averages)
    return space(Path(settings["paths"]["run"]), Disk.of(settings, checkpoint, averages * weights))


def _metric_weights(config: "DictConfig | None") -> "Result":
    from diffusion_lit.cluster.preflight.result import fine, stops, warns
    from diffusion_lit.metrics.features import extractor
    from diffusion_lit.metrics.lpips import LPIPS

    try:
        LPIPS("alex")
        return fine(f"{extractor('alex').identity}, lpips-alex")
    except UserError as error:
        needed = config is not None and "callbacks.Restoration" in str(config.callbacks)
        found = f"no FD and no LPIPS: {error}"
        return stops(found, "or callbacks=minimal, to train without restorations") if needed else warns(found)


def _report() -> "Result":
    from importlib.util import find_spec

    from diffusion_lit.cluster.preflight.result import fine, warns

    if find_spec("matplotlib") is None:
        return warns("matplotlib is missing, so there are no reports", "pip install 'diffusion_lit[report]'")
    return fine("matplotlib is there")
