"""What is submitted: a training, an array of trainings or of an experiment's entries, and the jobs that follow them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm
from pathlib import Path

from omegaconf import DictConfig

from diffusion_lit.cluster.axes import spread
from diffusion_lit.cluster.config import Cluster
from diffusion_lit.cluster.sbatch import Element, Job
from diffusion_lit.configuration import plain, run_config
from diffusion_lit.errors import UserError

__all__ = ["FOLLOWING", "Work", "reproduction", "training"]

FOLLOWING = ("follow", "evaluate", "compare")


@dataclass(frozen=True)
class Work:
    """Jobs in the order in which they are submitted, each with its resources; a later one depends on the one before.

    Args:
        jobs: the jobs.
        folder: of their files and of what they print.
        notes: what the user should know.
    """

    jobs: tuple[tuple[Job, Cluster], ...]
    folder: Path
    notes: tuple[str, ...] = ()


def training(words: Sequence[str], then: Sequence[str], cluster: Cluster, origin: str) -> Work:
    """The job of a training, or the array of trainings that its axes make, and what follows.

    Args:
        words: overrides of `diffusion-lit train`, lists of values among them.
        then: of `FOLLOWING`, in order.
        cluster: the resources of one training.
        origin: the command that asked for it.

    Raises:
        UserError: a configuration that does not compose, or runs that would disturb each other or not start.
    """
    if unknown := [step for step in then if step not in FOLLOWING]:
        raise UserError(f"then={unknown[0]}: unknown; what can follow a training is {', '.join(FOLLOWING)}")
    for word in words:
        if word.lstrip("+").startswith("resume=") and not word.endswith("=auto"):
            raise UserError(f"{word}: a submitted run is always resume=auto; checkpoint=PATH starts from other weights")
    common, spreads = spread([word for word in words if not word.lstrip("+").startswith("resume=")])
    command = [*common, *cluster.trainer(words), "resume=auto"]
    configs = [run_config([*command, *element]) for element in spreads]
    runs = [str(plain(config)["paths"]["run"]) for config in configs]
    for config, run in zip(configs, runs):
        if runs.count(run) > 1:
            raise UserError(
                f"{run}: {runs.count(run)} elements of the array would share this folder; let each have its own, as in "
                "paths.run='${paths.runs}/${task_name}-${run_identity}', and name every combination once"
            )
        _check(config, cluster)

    names = {str(config.task_name) for config in configs}
    name = cluster.name or (re.sub(r"[^\w.-]+", "-", names.pop()) if len(names) == 1 else "sweep")
    folder = Path(str(configs[0].paths.runs)) / "slurm"
    job = Job(
        name=name,
        origin=origin,
        command=("train", *(word for word in command if not word.startswith("paths.run="))),
        given="\"paths.run='$run'\"",
        elements=tuple(Element(tuple(element), run) for element, run in zip(spreads, runs)),
    )
    if "follow" in then and (then[0] != "follow" or len(spreads) > 1):
        raise UserError(
            "then=follow: runs beside the training of a single run, so it comes first; the runs of an array are "
            "evaluated by then=evaluate"
        )
    after = [_FOLLOW[step](job, cluster, folder) for step in then]
    return Work(((job, cluster), *after), folder, tuple(_notes(configs, cluster)))


def _follow(job: Job, cluster: Cluster, folder: Path) -> tuple[Job, Cluster]:
    """Evaluate each new checkpoint of a run while it trains, by one process with one device."""
    return replace(
        job,
        name=f"{job.name}-follow",
        command=("evaluate",),
        given='--follow "$run"',
        elements=tuple(Element((), element.run) for element in job.elements),
        saves=False,
        after="after",
    ), replace(cluster, nodes=1, gpus=min(1, cluster.gpus), processes=None)


def _evaluate(job: Job, cluster: Cluster, folder: Path) -> tuple[Job, Cluster]:
    """Evaluate each run when it is trained, on one node."""
    resources = replace(cluster, nodes=1)
    sizes = (f"trainer.devices={resources.tasks}", "+trainer.num_nodes=1") if cluster.ranks > 1 else ()
    return replace(
        job,
        name=f"{job.name}-evaluate",
        command=("evaluate", *sizes),
        given='checkpoint="$run"',
        elements=tuple(Element((), element.run) for element in job.elements),
        saves=False,
        after="aftercorr" if len(job.elements) > 1 else "afterok",
    ), resources


def _compare(job: Job, cluster: Cluster, folder: Path) -> tuple[Job, Cluster]:
    """Write the page that compares the runs, also if some of them failed."""
    page = folder / f"{job.name}-{job.identity(cluster)}.html"
    runs = tuple(element.run for element in job.elements)
    return replace(
        job,
        name=f"{job.name}-compare",
        command=("compare", *runs, f"out={page}"),
        given="",
        elements=(Element((), str(page)),),
        saves=False,
        after="afterany",
    ), replace(cluster, nodes=1, gpus=0, gpu_type=None, processes=1)


_FOLLOW = {"follow": _follow, "evaluate": _evaluate, "compare": _compare}


def reproduction(name: str, flags: Sequence[str], cluster: Cluster, origin: str) -> Work:
    """The array of an experiment's entries that are not measured yet, and the job that writes its tables.

    Entries that share a training run are one element, so no two train it at the same time.

    Args:
        name: of the experiment.
        flags: "--tiny" or nothing.
        cluster: the resources of an entry, of one process.
        origin: the command that asked for it.

    Raises:
        UserError: no such experiment, or arguments that it does not take.
    """
    from diffusion_lit.reproduction import Experiment, Results

    if unknown := [word for word in flags if word != "--tiny"]:
        raise UserError(
            f"submit reproduce={name}: takes no overrides such as {unknown[0]}; experiments/{name} has them"
        )
    if cluster.ranks > 1:
        raise UserError(f"submit reproduce={name}: an entry is one process, not {cluster.size}; use cluster=one_gpu")
    experiment = Experiment.read(Path("experiments") / name)
    scratch = Path("runs") / "experiments" / (f"{name}-tiny" if flags else name)
    folders = [experiment.folder, scratch]
    if flags:
        experiment, folders = experiment.twin(), [scratch]
    entries = experiment.entries()
    done = Results.gather(entries, experiment.axes, *folders).fresh
    together: dict[str, list[int]] = {}
    for number, entry in enumerate(entries):
        if entry.identity not in done:
            together.setdefault(entry.run_identity or entry.identity, []).append(number)
    folder = Path("runs") / "slurm"
    if not together:
        return Work((), folder, (f"{name}: every entry is measured; diffusion-lit reproduce {name} writes its tables",))
    job = Job(
        name=cluster.name or name,
        origin=origin,
        command=("reproduce", name, *flags),
        elements=tuple(
            Element(("--entry", ",".join(map(str, numbers))), str(scratch / run)) for run, numbers in together.items()
        ),
    )
    tables = replace(
        job, name=f"{job.name}-tables", elements=(Element((), str(scratch)),), saves=False, after="afterok"
    )
    return Work(((job, cluster), (tables, cluster)), folder)


def _check(config: DictConfig, cluster: Cluster) -> None:
    """Refuse what would only be refused when the job starts: shares of the data that are not equal.

    Raises:
        UserError: lanes, batch size, shards and processes do not divide.
    """
    settings = plain(config)
    data, batch = settings["data"], settings["batch_size"]
    if data["root"] is None:  # a toy is drawn, not read
        return
    lanes, workers = data["lanes"], max(1, data["num_workers"])
    readers = cluster.ranks * workers
    if lanes % readers:
        fitting = lcm(lanes, readers)
        mend = f"data.lanes={fitting}" + ("" if batch % fitting == 0 else f" batch_size={lcm(batch, fitting)}")
        raise UserError(
            f"data.lanes: {lanes} is not a multiple of {readers} = {cluster.ranks} processes ({cluster.size}) x "
            f"{workers} workers, so they would not get equal shares. Set {mend} (as many shards, or more, must be "
            f"packed), or choose nodes x processes x data.num_workers so that it divides {lanes}"
        )
    if not (Path(data["root"]) / "manifest.json").exists():
        return
    from diffusion_lit.data import Manifest, StreamLoader

    StreamLoader(
        Manifest.read(data["root"]), batch, lanes=lanes, world_size=cluster.ranks, num_workers=data["num_workers"]
    )


def _notes(configs: Sequence[DictConfig], cluster: Cluster) -> list[str]:
    roots = {
        str(config.data.root): config.data.pack.source
        for config in configs
        if config.data.root is not None and config.data.get("pack")
    }
    if cluster.ranks * len(configs) == 1:
        return []
    return [
        f"{root} is not packed, as seen from here: every process would pack it. First run the pack command: "
        f"diffusion-lit pack {source} {root}"
        for root, source in roots.items()
        if not (Path(root) / "manifest.json").exists()
    ]
