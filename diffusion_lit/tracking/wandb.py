"""W&B beside a training: another process reads the run folder and sends it, so W&B can neither stop nor slow it."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

from diffusion_lit.tracking.machine import children
from diffusion_lit.tracking.run_logger import RunLogger
from diffusion_lit.tracking.wandb_target import REASON, Checkpoints, Target

__all__ = ["WandbLogger"]

_AGAIN = 300.0  # seconds until W&B is tried once more after it failed


class WandbLogger(RunLogger):
    """Keep a process beside the training that sends the run folder to W&B as it fills; see `tracking.upload`.

    This process never talks to W&B: it starts the other one at the first line, looks after it at each line, and waits
    for it at the end. Where W&B fails, it says so once, and training goes on.

    Args:
        folder: the run folder, where `JsonlLogger` writes metrics.jsonl.
        project, entity, offline, checkpoints: see `Target`.
        patience: seconds to wait at the end of training for what is on its way.
    """

    def __init__(
        self,
        folder: str | Path,
        project: str = "diffusion_lit",
        entity: str | None = None,
        offline: bool = True,
        checkpoints: Checkpoints = "reference",
        patience: float = 30.0,
    ) -> None:
        super().__init__(folder)
        self.target, self.patience = Target(project, entity, offline, checkpoints), patience
        self._process: subprocess.Popen[bytes] | None = None
        self._failed_at: float | None = None
        self._told = False

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """See that the process runs: it reads what `JsonlLogger` writes."""
        if self._process is not None and self._process.poll() is not None:
            self._failed()
        if self._process is None and (self._failed_at is None or time.monotonic() - self._failed_at > _AGAIN):
            self._start()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the config stands in config.yaml already."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Wait until all is sent, but not longer than `patience`."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            if self._process.wait(self.patience):
                self._failed()
        except subprocess.TimeoutExpired:
            _kill(self._process)
            self._tell(
                f"{self.folder}: not all of it is at W&B after patience={self.patience:g} seconds. Nothing is lost, "
                f"`diffusion-lit upload {self.folder}` sends the rest"
            )
        self._process = None

    @rank_zero_only
    def update(self) -> None:
        """Send what was added to the folder after the end, such as summary.json."""
        self.log_metrics({})
        self.finalize("success")

    def _start(self) -> None:
        if os.environ.get("WANDB_MODE") == "disabled":
            return
        # the other process gives up a little before this one stops waiting for it, and so says why
        words = [str(self.folder), json.dumps(asdict(self.target)), str(max(1.0, 0.8 * self.patience))]
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("wb") as log, _blocked():
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "diffusion_lit.tracking.upload", *words],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the training
                )
        except OSError as error:
            self._failed_at = time.monotonic()
            self._tell(f"{self.folder}: W&B's process could not be started ({error}); training goes on without")

    def _failed(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        said = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        reasons = [line.removeprefix(REASON) for line in said if line.startswith(REASON)]
        self._tell(reasons[-1] if reasons else f"W&B's process ended with {self._process.returncode}; see {self._log}")
        self._process, self._failed_at = None, time.monotonic()

    def _tell(self, why: str) -> None:
        if not self._told:
            print(f"warning: {why}", file=sys.stderr)
        self._told = True

    @property
    def _log(self) -> Path:
        return self.folder / "wandb" / "upload.log"


@contextmanager
def _blocked() -> Iterator[None]:
    """Block the signals that stop a job, which a scheduler sends to all of its processes: what is started here, and
    all that it starts, never gets them, and ends when its standard input does. This process gets them afterwards."""
    stops = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and W&B's own, which it started and which would go on sending for a while."""
    for pid in [*children(process.pid), process.pid]:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
