"""The software and what it computes on: versions, threads and cores, GPUs."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from diffusion_lit.cluster.preflight.result import Result, fine, stops, warns, worst

__all__ = ["gpus", "packages", "python", "threads"]

_SHOWN = ("torch", "lightning", "wandb", "webdataset")


def python() -> Result:
    """Python's version against the bounds of the package."""
    here, bounds = platform.python_version(), metadata("diffusion_lit")["Requires-Python"]
    if bounds and not SpecifierSet(bounds).contains(here, prereleases=True):
        return stops(f"{here}, wanted is {bounds}", "make the environment anew with another Python")
    return fine(here)


def packages() -> Result:
    """The versions of what the package needs, against the bounds that it names."""
    found = []
    for text in requires("diffusion_lit") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        here = installed(wanted.name)
        if here is None:
            found.append(stops(f"{wanted.name} is missing", f"pip install '{wanted.name}{wanted.specifier}'"))
        elif not wanted.specifier.contains(here, prereleases=True):
            text = f"{wanted.name} {here}, wanted is {wanted.specifier}"
            found.append(warns(text, f"pip install '{wanted.name}{wanted.specifier}'"))
    return worst(found, ", ".join(f"{name} {installed(name)}" for name in _SHOWN))


def installed(package: str) -> str | None:
    """The version of a package, read without importing it; None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def threads(number: int, cores: int, tasks: int, workers: int, variables: Mapping[str, str]) -> Result:
    """Threads and reading processes against the cores that there are for them.

    Args:
        number: of torch's threads in a process.
        cores: that this process may use.
        tasks: training processes of this machine.
        workers: reading processes of each.
        variables: of the environment.
    """
    told = variables.get("SLURM_CPUS_PER_TASK", "")
    cores_each = int(told) if told.isdigit() else max(1, cores // tasks)
    whose = (
        "SLURM_CPUS_PER_TASK" if told.isdigit() else f"{cores} cores" + (f" / {tasks} processes" if tasks > 1 else "")
    )
    found = f"{number} {'thread' if number == 1 else 'threads'} a process, {whose}"
    found += f"={told}" if told.isdigit() else ""
    if number > cores_each:
        return warns(f"{found}: they wait for each other", f"export OMP_NUM_THREADS={cores_each}")
    if workers and workers + 1 > cores_each:
        mend = f"cluster.cpus={workers + 1}, or fewer data.num_workers"
        return warns(f"{found}, for it and {workers} reading processes", mend)
    return fine(found)


def gpus(names: list[str], built: bool, wanted: int, accelerator: str, elsewhere: bool, visible: str | None) -> Result:
    """The GPUs that torch sees against those that the run asks for.

    Args:
        names: of those that torch sees.
        built: whether torch was built for GPUs.
        wanted: training processes of a node.
        accelerator: of the trainer.
        elsewhere: the run goes to other machines, so this one need not have any.
        visible: CUDA_VISIBLE_DEVICES; None: not set.
    """
    seen = f"{len(names)} x {names[0]}" if names else "none"
    seen += "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
    if accelerator not in ("gpu", "cuda"):
        return warns(f"{seen}, and not used", "trainer=gpu") if names else fine(f"{seen}, and none is asked for")
    if len(names) >= wanted:
        return fine(seen)
    if elsewhere:
        return fine(f"{seen} here, {wanted} of each node asked for")
    if not built:
        mend = "install a build of torch for GPUs, or trainer=cpu"
    elif visible is not None and not names:
        mend = "unset CUDA_VISIBLE_DEVICES, or trainer=cpu"
    else:
        mend = f"trainer.devices={len(names)}" if names else "nvidia-smi says whether the driver works; or trainer=cpu"
    return stops(f"{seen}, {wanted} asked for", mend)
