"""Jobs and the sbatch files that run them."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from diffusion_lit.cluster.config import Cluster

__all__ = ["Element", "Job", "listing", "render"]


@dataclass(frozen=True)
class Element:
    """One piece of a job's work: an element of its array.

    Args:
        words: its own arguments, after those that all share.
        run: the folder of the run that it makes or reads.
    """

    words: tuple[str, ...]
    run: str


@dataclass(frozen=True)
class Job:
    """One command, or an array of commands that differ in their last arguments.

    Args:
        name: of the job.
        origin: the command that asked for it; the file names it.
        command: arguments of diffusion-lit that all elements share.
        elements: one, or those of the array.
        given: how the command is given the folder of its run, $run in the script; empty: it needs none. So the folder
            stays what it was when the job was submitted, whatever changes while the job waits.
        saves: it saves when it is told that its time ends, and goes on in the same job when it is run again.
        after: how it depends on the job before it: "afterok", "afterany", "aftercorr"; None: not at all.
    """

    name: str
    origin: str
    command: tuple[str, ...]
    elements: tuple[Element, ...]
    given: str = ""
    saves: bool = True
    after: str | None = None

    def identity(self, cluster: Cluster) -> str:
        """8 hexadecimal digits of all that the job is: its files are named by it, so no later job overwrites them."""
        text = json.dumps([asdict(self), asdict(cluster)], sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def render(job: Job, cluster: Cluster, folder: Path) -> str:
    """The text of the sbatch file.

    Its elements stand in the file itself, of which SLURM keeps a copy: nothing that is written later changes a job that
    waits.

    Args:
        job: what is run.
        cluster: on what.
        folder: of what it prints; it must exist when the job starts.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shell"] = shlex.quote
    environment.filters["join_shell"] = _join
    array = len(job.elements) if len(job.elements) > 1 else 0
    return environment.get_template("job.sbatch.jinja").render(
        job=job, cluster=cluster, array=array, output=folder / ("%x-%A_%a.out" if array else "%x-%j.out")
    )


def listing(job: Job) -> str:
    """A line for each element: its number, the folder of its run, its arguments; separated by tabs."""
    return "".join(f"{i}\t{element.run}\t{_join(element.words)}\n" for i, element in enumerate(job.elements))


def _join(words: Sequence[str]) -> str:
    """Words for a shell; what is only special to other programs stays without quotes."""
    return " ".join(word if _plain(word) else shlex.quote(word) for word in words)


def _plain(word: str) -> bool:
    # shlex.quote would quote these too, which the shell itself takes as they are
    return bool(word) and not word.startswith("~") and all(c.isalnum() or c in "@%_-+=:,./" for c in word)
