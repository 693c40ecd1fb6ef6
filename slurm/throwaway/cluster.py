"""A throwaway SLURM of two nodes on this machine, for tests and first tries: `cluster.py up|down [FOLDER]`.

    python slurm/throwaway/cluster.py up      start it; prints the lines that a shell needs to use it
    python slurm/throwaway/cluster.py down    end its jobs and daemons

It needs slurmctld and slurmd (Debian: apt install slurmctld slurmd slurm-client), no root, no munge and no accounting.
It has no authentication: it listens on loopback, and everybody with an account on this machine may use it. State, logs
and slurm.conf are in FOLDER (default: runs/slurm/throwaway); instances in several folders do not disturb each other.

The two nodes say that they have 64 cores, 8 GPUs and 500 GB each, so that any sbatch file is accepted; in fact they are
this machine.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["NODES", "Throwaway", "ThrowawayError", "missing"]

NODES = ("n1", "n2")
HERE = Path(__file__).resolve().parent
TOOLS = ("slurmctld", "slurmd", "sinfo", "sbatch", "srun", "scontrol", "scancel", "squeue")
SYSTEM = "/usr/sbin:/usr/local/sbin:/sbin"  # where the daemons are; not on every user's PATH
LONGEST = 60  # of the folder's path: slurmd's sockets stand below it, and a socket's path has at most 107 bytes


class ThrowawayError(RuntimeError):
    """SLURM is not installed, or a daemon did not start; the message says why."""


def missing() -> list[str]:
    """The tools of SLURM that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{SYSTEM}") is None]


class Throwaway:
    """One SLURM in one folder.

    Args:
        folder: of its configuration, state and logs; at most 60 characters, made if missing.
        owned: its daemons end when this process does, even if that is killed.
    """

    def __init__(self, folder: Path, owned: bool = False):
        self.folder = folder.resolve()
        self.owned = owned
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What its users need in their environment, but for PATH."""
        # the nodes' names do not resolve: processes that look for the first one need its address
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}

    @property
    def env(self) -> dict[str, str]:
        """This process's environment with `variables` and a PATH that has SLURM and the stand-in for sacct."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return {**inherited, **self.variables, "PATH": f"{HERE / 'bin'}:{os.environ.get('PATH', '')}:{SYSTEM}"}

    def up(self, deadline: float = 30.0) -> None:
        """Start the daemons and wait until both nodes are idle.

        Raises:
            ThrowawayError: SLURM is not installed, one is up in this folder, or it did not come up.
        """
        if absent := missing():
            raise ThrowawayError(f"no {', '.join(absent)} here; on Debian: apt install slurmctld slurmd slurm-client")
        if len(str(self.folder)) > LONGEST:
            raise ThrowawayError(
                f"{self.folder}: longer than {LONGEST} characters, which is too long for sockets in it"
            )
        if self.alive():
            raise ThrowawayError(f"{self.folder}: is up already")
        for name in ("state", "log", *(f"spool.{node}" for node in NODES)):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        end = time.monotonic() + deadline
        try:
            self._control(end)
            for node in NODES:
                self.start(node)
            self._until(lambda: self.states() == ["idle"] * len(NODES), end, "the nodes are not idle")
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the jobs, then the daemons; nothing happens where none are up."""
        if "slurmctld" in self.alive():
            with suppress(subprocess.SubprocessError):
                self.client("scancel", f"--user={os.getuid()}", "--signal=KILL", "--full")
                self.client("scancel", f"--user={os.getuid()}")
                self._until(lambda: not self.client("squeue", "-h", "-t", "R,CG"), time.monotonic() + 8, "jobs go on")
        for node in NODES:
            self.kill(node)
        self._end("slurmctld", signal.SIGTERM)
        (self.folder / "daemons.json").unlink(missing_ok=True)

    def start(self, node: str) -> None:
        """Start a node's daemon; a node that was lost comes back to work."""
        self._start(f"slurmd.{node}", "slurmd", "-D", "-N", node)

    def kill(self, node: str) -> None:
        """End a node as a power cut does: its daemon and all that it runs, at once."""
        self._end(f"slurmd.{node}", signal.SIGKILL)
        while there := list(_processes(f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.folder / 'slurm.conf'}")):
            for pid in [*_stewards(there), *there]:  # first those that would report the tasks' death
                _send(pid, signal.SIGKILL)
            time.sleep(0.02)

    def lose(self, node: str) -> None:
        """`kill` the node and tell the controller, which would otherwise find out after SlurmdTimeout."""
        self.kill(node)
        self.client("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def client(self, *words: str, timeout: float = 20.0) -> str:
        """Run a client such as squeue; return what it prints.

        Raises:
            subprocess.SubprocessError: it failed (with what it said) or did not answer within `timeout` seconds.
        """
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise subprocess.SubprocessError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def states(self) -> list[str]:
        """The states of the nodes that answer, such as idle or mixed."""
        try:
            return self.client("sinfo", "-h", "-N", "-o", "%T", timeout=2.0).split()
        except subprocess.SubprocessError:
            return []

    def _control(self, end: float) -> None:
        """Start the controller on the first block of ports that nobody uses: its own port is the block's lock."""
        for block in range(20_000, 30_000, 10):
            if not all(_free(port) for port in range(block, block + 1 + len(NODES))):
                continue
            self._write(block)
            daemon = self._start("slurmctld", "slurmctld", "-D", "-c")
            log = self.folder / "log" / "slurmctld.out"
            self._until(lambda d=daemon: d.poll() is not None or bool(self.states()), end, f"no controller; see {log}")
            if daemon.poll() is None:
                return
            if "in use" not in log.read_text(errors="replace"):
                raise ThrowawayError(f"slurmctld: {log.read_text(errors='replace')[-500:].strip()}")
        raise ThrowawayError("no free ports between 20000 and 30000")

    def _write(self, port: int) -> None:
        user = _user()
        nodes = "\n".join(
            f"NodeName={node} NodeAddr=127.0.0.1 NodeHostname=localhost Port={port + number} CPUs=64 RealMemory=500000 "
            "Gres=gpu:8 State=UNKNOWN"
            for number, node in enumerate(NODES, 1)
        )
        template = (HERE / "slurm.conf").read_text(encoding="utf-8")
        text = template.format(folder=self.folder, user=user, port=port, nodes=nodes)
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        for number in range(8):  # what stands for a GPU must be a device
            (self.folder / f"gpu{number}").unlink(missing_ok=True)
            (self.folder / f"gpu{number}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-7]\n", encoding="utf-8")

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        if self.owned:
            words = ("setpriv", "--pdeathsig", "TERM", *words)
        with (self.folder / "log" / f"{name}.out").open("wb") as log:
            daemon = subprocess.Popen(
                words, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children[name] = daemon
        known = self._known() | {name: daemon.pid}
        (self.folder / "daemons.json").write_text(json.dumps(known), encoding="utf-8")
        return daemon

    def _known(self) -> dict[str, int]:
        path = self.folder / "daemons.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def alive(self) -> dict[str, int]:
        """The daemons that run: those whose process is still one of this cluster's."""
        ours = set(_processes(f"SLURM_CONF={self.folder / 'slurm.conf'}"))
        return {name: pid for name, pid in self._known().items() if pid in ours}

    def _end(self, name: str, first: signal.Signals) -> None:
        pid = self.alive().get(name)
        if pid is None:
            return
        _send(pid, first)
        deadline = time.monotonic() + 5
        while name in self.alive():
            if time.monotonic() > deadline:
                _send(pid, signal.SIGKILL)
            time.sleep(0.02)
        if name in self._children:
            self._children.pop(name).wait()

    def _until(self, condition: Callable[[], bool], end: float, otherwise: str) -> None:
        while not condition():
            if time.monotonic() > end:
                raise ThrowawayError(f"{self.folder}: {otherwise} (logs are in {self.folder / 'log'})")
            time.sleep(0.05)


def _processes(*variables: str) -> Iterator[int]:
    """The ids of living processes with all these VARIABLE=value in their environment, as it was at their start."""
    wanted = {variable.encode() for variable in variables}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                yield int(entry.name)


def _stewards(tasks: list[int]) -> set[int]:
    """The slurmstepd processes that started these tasks."""
    found = set()
    for task in tasks:
        with suppress(OSError):
            parent = int((Path("/proc") / str(task) / "stat").read_text().rpartition(")")[2].split()[1])
            if (Path("/proc") / str(parent) / "comm").read_text().strip() == "slurmstepd":
                found.add(parent)
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container whose user has no name
        return str(os.getuid())


def main(words: list[str]) -> int:
    """Start or end a cluster; return 0, or 1 with one line that says what is wrong."""
    if not words or words[0] not in {"up", "down"} or len(words) > 2:
        print(__doc__, file=sys.stderr)
        return 2
    cluster = Throwaway(Path(words[1]) if len(words) == 2 else HERE.parents[1] / "runs" / "slurm" / "throwaway")
    try:
        if words[0] == "down":
            cluster.down()
            return 0
        cluster.up()
    except ThrowawayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("export", *(f"{key}={value}" for key, value in cluster.variables.items()))
    print(f"export PATH={HERE / 'bin'}:$PATH")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
