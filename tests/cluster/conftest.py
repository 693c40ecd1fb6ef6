"""A real SLURM of two nodes on this machine, for the tests of this folder."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm.throwaway.cluster import NODES, Throwaway, missing

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}


class Slurm:
    """What tests do with a cluster. No call waits longer than its timeout.

    Attributes:
        env: the environment in which SLURM's clients, and programs that call them, find the cluster.
    """

    def __init__(self, cluster: Throwaway):
        self.cluster = cluster
        self.env = cluster.env | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

    def call(self, *words: str, timeout: float = 20.0) -> str:
        """Run a client, such as call("squeue", "-h"); return what it prints."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def sbatch(self, script: Path, *options: str) -> str:
        """Submit a file; return the job's id."""
        return self.call("sbatch", "--parsable", *options, str(script))

    def jobs(self, job: str) -> list[dict[str, str]]:
        """What `scontrol show job` tells of a job, or of each element of an array: JobState, Restarts, NodeList ..."""
        lines = self.call("scontrol", "-o", "show", "job", job).splitlines()
        return [dict(re.findall(r"(\S+?)=(.*?)(?= \S+?=|$)", line)) for line in lines]

    def wait(self, job: str, *states: str, deadline: float, restarts: int = 0) -> list[dict[str, str]]:
        """Wait until a job, or every element of an array, is in one of these states.

        Args:
            job: its id.
            states: such as "RUNNING", "COMPLETED".
            deadline: seconds from now.
            restarts: how often it must have been requeued before that.

        Returns:
            What `jobs` tells then.
        """
        end = time.monotonic() + deadline
        while True:
            jobs = self.jobs(job)
            if all(j["JobState"] in states and int(j["Restarts"]) >= restarts for j in jobs):
                return jobs
            lost = [j for j in jobs if j["JobState"] in ENDED - set(states)]
            if lost or time.monotonic() > end:
                found = ", ".join(
                    f"{j['JobId']} {j['JobState']} {j['Reason']} (restarts {j['Restarts']})" for j in jobs
                )
                raise AssertionError(f"expected {' or '.join(states)}, found {found}\n{_output(jobs)}")
            time.sleep(0.2)

    @staticmethod
    def until(condition: Callable[[], bool], deadline: float) -> None:
        """Wait until `condition` holds; fail after `deadline` seconds."""
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.1)

    def requeue(self, job: str) -> None:
        """End a running job and put it back into the queue, as preemption does."""
        self.call("scontrol", "requeue", job)

    def signal(self, job: str, name: str) -> None:
        """Send a signal such as "USR1" to the tasks of a job's steps, as --signal=USR1@120 does."""
        self.call("scancel", f"--signal={name}", job)

    def cancel(self, job: str) -> None:
        """Cancel a job."""
        self.call("scancel", job)

    def lose(self, node: str) -> None:
        """Power off a node ("n1" or "n2") and all that it runs."""
        self.cluster.lose(node)

    def restore(self, node: str) -> None:
        """Power it on again."""
        self.cluster.start(node)


def _output(jobs: list[dict[str, str]]) -> str:
    texts = []
    for path in dict.fromkeys(Path(job["StdOut"]) for job in jobs if "StdOut" in job):
        if path.exists():
            texts.append(f"{path}:\n{path.read_text(errors='replace')[-3000:]}")
    return "\n".join(texts)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """The cluster, started once; under pytest-xdist every worker that asks has one of its own."""
    if absent := missing():
        pytest.skip(f"SLURM is not installed: no {', '.join(absent)} (Debian: slurmctld slurmd slurm-client)")
    cluster = Throwaway(tmp_path_factory.mktemp("slurm"), owned=True)
    cluster.up()
    try:
        yield Slurm(cluster)
    finally:
        cluster.down()


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cancel what a test that failed left in the queue, and bring back the nodes that it lost."""
    yield
    if "slurm" not in request.fixturenames:
        return
    found: Slurm = request.getfixturevalue("slurm")
    if jobs := found.call("squeue", "-h", "-o", "%A").split():
        found.call("scancel", *jobs)
        found.until(lambda: not found.call("squeue", "-h"), deadline=20)
    for node in set(NODES) - {name.removeprefix("slurmd.") for name in found.cluster.alive()}:
        found.restore(node)
    found.until(lambda: found.cluster.states() == ["idle"] * len(NODES), deadline=20)
