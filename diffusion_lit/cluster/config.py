"""What a job asks of the cluster, checked before it waits in a queue for nothing."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["Cluster"]

_WORD = re.compile(r"[^\s'\"\\#]+")  # what may stand in an #SBATCH line without quotes
_TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")  # as `man sbatch` has it
_MEMORY = re.compile(r"\d+[KMGT]?")


@dataclass(frozen=True)
class Cluster:
    """The resources of a job and what it finds around it.

    Args:
        name: of the job; None: the task_name of what it trains.
        partition, account, qos, constraint, exclude: as sbatch has them; None leaves the choice to SLURM.
        nodes: how many.
        gpus: of each node; a process has one.
        gpu_type: such as "a100"; None: any.
        processes: of each node where there are no GPUs; with GPUs there are as many processes as those.
        cpus: cores of each process.
        memory: of each node, such as "64G"; None: what SLURM gives, "0": all of it.
        time: the limit, such as "24:00:00", "2-12" or minutes; None: the partition's.
        grace: seconds before the limit at which training is told to save and stop.
        parallel: elements of an array that run at the same time; None: all.
        options: further options of sbatch, such as "--mail-type=END".
        setup: lines of shell before the work: modules, environments.
        environment: variables that are set after them.

    Raises:
        UserError: a value that sbatch would not take, or would take for something else.
    """

    name: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodes: int = 1
    gpus: int = 0
    gpu_type: str | None = None
    processes: int | None = None
    cpus: int = 4
    memory: str | int | None = None
    time: str | int | None = None
    grace: int = 120
    parallel: int | None = None
    options: Sequence[str] = ()
    setup: Sequence[str] = ()
    environment: Mapping[str, str | int | float] = field(default_factory=dict)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Cluster":
        """Make one of a configuration's keys.

        Raises:
            UserError: an unknown key, or a value that does not fit.
        """
        known = [one.name for one in fields(cls)]
        if unknown := [str(key) for key in settings if key not in known]:
            raise UserError(f"cluster.{unknown[0]}: unknown; known are {', '.join(known)}")
        numbers = {"nodes": 1, "gpus": 0, "processes": 1, "cpus": 1, "grace": 1, "parallel": 1}
        for name, least in numbers.items():
            value = settings.get(name)
            optional = name in ("processes", "parallel")
            if name in settings and not (value is None and optional) and not (type(value) is int and value >= least):
                raise UserError(f"cluster.{name}={value}: must be a whole number of at least {least}")
        for name in ("options", "setup"):
            value = settings.get(name, [])
            if not isinstance(value, list) or any(not isinstance(line, str) or "\n" in line for line in value):
                raise UserError(
                    f"cluster.{name}: must be a list of lines of text, such as cluster.{name}=['...','...']"
                )
        return cls(**settings)

    def __post_init__(self) -> None:
        for name in ("name", "partition", "account", "qos", "constraint", "exclude", "gpu_type"):
            value = getattr(self, name)
            if value is not None and not _WORD.fullmatch(str(value)):
                raise UserError(f"cluster.{name}={value!r}: must be one word, without spaces, quotes and #")
        if self.time is not None and not _TIME.fullmatch(str(self.time)):
            raise UserError(f"cluster.time={self.time}: is no time; take hours:minutes:seconds, days-hours or minutes")
        if self.memory is not None and not _MEMORY.fullmatch(str(self.memory)):
            raise UserError(f"cluster.memory={self.memory}: is no size; take one such as 64G, or 0 for all of a node")
        if self.gpus and self.processes not in (None, self.gpus):
            raise UserError(
                f"cluster.processes={self.processes}: each of a node's {self.gpus} GPUs has one process; leave it out"
            )
        if self.gpu_type and not self.gpus:
            raise UserError(f"cluster.gpu_type={self.gpu_type}: of no GPUs; set cluster.gpus")
        for option in self.options:
            if not option.startswith("-"):
                raise UserError(f"cluster.options: {option!r} is no option of sbatch, such as --mail-type=END")
        for name, value in self.environment.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or "\n" in str(value):
                raise UserError(f"cluster.environment.{name}={value!r}: is no variable of one line")

    @property
    def tasks(self) -> int:
        """Processes of a node."""
        return self.gpus or self.processes or 1

    @property
    def ranks(self) -> int:
        """Processes of all nodes."""
        return self.nodes * self.tasks

    @property
    def size(self) -> str:
        """In words, such as "2 nodes x 8 GPUs"."""
        count, what = (self.gpus, "GPU") if self.gpus else (self.tasks, "process")
        plural = "" if count == 1 else "es" if what == "process" else "s"
        return f"{self.nodes} node{'s' if self.nodes > 1 else ''} x {count} {what}{plural}"

    @property
    def directives(self) -> list[str]:
        """The resources as options of sbatch."""
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        options = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "exclude": self.exclude,
            "nodes": self.nodes,
            "ntasks-per-node": self.tasks,
            "gpus-per-node": f"{kind}{self.gpus}" if self.gpus else None,
            "cpus-per-task": self.cpus,
            "mem": self.memory,
            "time": self.time,
        }
        return [f"--{name}={value}" for name, value in options.items() if value is not None] + list(self.options)

    def trainer(self, words: Sequence[str]) -> list[str]:
        """The overrides of training that make the Trainer use what the job gets.

        None of them changes the run identity, but for the choice between trainer=cpu and trainer=gpu or ddp: the latter
        compute in another precision.

        Args:
            words: the overrides of the user, whose choice of trainer=NAME is kept.

        Raises:
            UserError: they say how many devices there are.
        """
        for word in words:
            key = word.lstrip("+").partition("=")[0]
            if key in ("trainer.devices", "trainer.num_nodes", "trainer.accelerator"):
                raise UserError(f"{word}: follows from cluster.nodes, cluster.gpus and cluster.processes; set those")
        chosen = any(word.startswith("trainer=") for word in words)
        name = ("gpu" if self.ranks == 1 else "ddp") if self.gpus else ("cpu" if self.ranks == 1 else "ddp_sim")
        sizes = [f"trainer.devices={self.tasks}", f"++trainer.num_nodes={self.nodes}"]
        return [*([] if chosen else [f"trainer={name}"]), *(sizes if chosen or self.ranks > 1 else [])]

    def check_setup(self) -> None:
        """See that what the setup lines read is there; raises UserError if not."""
        for line in self.setup:
            words = line.partition(" #")[0].split()
            if len(words) == 2 and words[0] in ("source", ".") and "$" not in words[1]:
                path = os.path.expanduser(words[1])
                if not os.path.exists(path):
                    raise UserError(
                        f"cluster.setup: {line!r}: there is no {path}; name the environment that has diffusion-lit, as "
                        "in cluster.setup=['source venv/bin/activate'], or cluster.setup=[] if it is active"
                    )
