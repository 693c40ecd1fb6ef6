"""diffusion-lit submit [overrides] [cluster=NAME] [cluster.key=value] [then=evaluate,compare] [--dry-run]

Train on a SLURM cluster. Overrides are those of `train`; lists of values make one job array of single runs, each in the
folder that `train` would give it.

    diffusion-lit submit experiment=mnist cluster=one_gpu cluster.time=8:00:00
    diffusion-lit submit experiment=mnist cluster.nodes=2 cluster.gpus=4     processes must divide data.lanes
    diffusion-lit submit experiment=mnist seed=0,1,2 model=unet,dit cluster.gpus=1 cluster.parallel=4
    diffusion-lit submit experiment=mnist 'seed=range(3)' then=evaluate,compare    evaluate each, then one page of all
    diffusion-lit submit experiment=mnist then=follow,compare    evaluate each checkpoint in a job beside the training
    diffusion-lit submit reproduce=ncsn_techniques     what is missing of an experiment, then its tables
    diffusion-lit submit experiment=mnist cluster=one_gpu --dry-run    print files and commands; needs no SLURM

cluster=default|cpu|one_gpu|one_node|several_nodes, or a file of your own: a copy of configs/cluster/default.yaml, which
lists the keys. All configurations are composed, and checked against the packed data, before anything is submitted. A
job whose time is over, or that crashed, goes on by itself.
"""

import shlex
from typing import TYPE_CHECKING

from diffusion_lit.errors import UserError

if TYPE_CHECKING:
    from diffusion_lit.cluster import Cluster, Job
    from diffusion_lit.cluster.work import Work

__all__ = ["run"]

_SHOWN = 12  # runs that are named; the .tsv has them all


def run(words: list[str]) -> int:
    from diffusion_lit.cluster import Cluster
    from diffusion_lit.cluster.work import reproduction, training
    from diffusion_lit.configuration import compose_config, plain

    dry = "--dry-run" in words
    words = [word for word in words if word != "--dry-run"]
    origin = f"diffusion-lit submit {shlex.join(words)}"
    resources = [word for word in words if word.lstrip("+~").partition("=")[0].split(".")[0] == "cluster"]
    own = dict(word.split("=", 1) for word in words if word.startswith(("then=", "reproduce=")))
    rest = [word for word in words if word not in resources and not word.startswith(("then=", "reproduce="))]
    cluster = Cluster.read(plain(compose_config("submit", resources))["cluster"])
    if "reproduce" in own:
        if "then" in own:
            raise UserError("submit: reproduce=NAME writes its tables by itself; leave out then=")
        work = reproduction(own["reproduce"], rest, cluster, origin)
    else:
        then = [step for step in own.get("then", "").strip("[]").split(",") if step]
        work = training(rest, then, cluster, origin)
    for note in work.notes:
        print(f"note: {note}")
    return _show(work) if dry else _submit(work)


def _show(work: "Work") -> int:
    """Print the files and the commands; write and submit nothing."""
    from diffusion_lit.cluster import arguments, listing, render

    commands = [f"mkdir -p {shlex.quote(str(work.folder))}"]
    for number, (job, resources) in enumerate(work.jobs, 1):
        script = work.folder / f"{job.name}-{job.identity(resources)}.sbatch"
        print(f"==> {script}\n{render(job, resources, work.folder)}")
        if len(job.elements) > 1:
            print(f"==> {script.with_suffix('.tsv')}\n{listing(job)}")
        commands.append(f"job{number}=$({' '.join(arguments(script, job.after, f'$job{number - 1}'))})")
    if work.jobs:
        print("==> commands", *commands, sep="\n")
    return 0


def _submit(work: "Work") -> int:
    """Write the files, submit them, say how to follow the jobs."""
    from diffusion_lit.cluster import listing, render, submit
    from diffusion_lit.files import write_text

    number = ""
    for job, resources in work.jobs:
        resources.check_setup()
        script = work.folder / f"{job.name}-{job.identity(resources)}.sbatch"
        write_text(script, render(job, resources, work.folder))
        if len(job.elements) > 1:
            write_text(script.with_suffix(".tsv"), listing(job))
        after = f", {job.after} {number}" if job.after else ""
        number = submit(script, job.after, number)
        print(_how_to_follow(job, resources, number, after, work))
    return 0


def _how_to_follow(job: "Job", resources: "Cluster", number: str, after: str, work: "Work") -> str:
    array = len(job.elements) > 1
    script = work.folder / f"{job.name}-{job.identity(resources)}.sbatch"
    lines = {
        "queue": f"squeue -j {number}",
        "output": f"tail -F {work.folder / job.name}-{number}{'_*' if array else ''}.out",
        "stop": f"scancel {number}",
        "file": f"{script}",
    }
    if array:
        lines["elements"] = f"{script.with_suffix('.tsv')}"
        lines["compare"] = f"diffusion-lit compare $(cut -f2 {script.with_suffix('.tsv')})"
    size = f"{resources.size}{f', {len(job.elements)} elements' if array else ''}{after}"
    told = [f"{number}  {job.name}  ({size})", *(f"  {name:<9} {text}" for name, text in lines.items())]
    for element in job.elements[:_SHOWN]:
        told.append(f"  {'run':<9} {element.run}  {shlex.join(element.words) if array else ''}".rstrip())
    if len(job.elements) > _SHOWN:
        told.append(f"  {'':<9} and {len(job.elements) - _SHOWN} more")
    return "\n".join(told)
