"""A training that tests start, disturb and start again, and what the scripts that do so are told."""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401 (with the next two, so that an attempt has nothing left to import)
import torch

import diffusion_lit.callbacks
import diffusion_lit.cli
import diffusion_lit.commands.build
from diffusion_lit import checkpoint
from diffusion_lit.cli import main
from diffusion_lit.tracking.lines import read, without_times
from tests.commands.small import SMALL

PATIENCE = 180.0  # seconds until something that must happen counts as not happening


class Training:
    """A training by the command that a user would give, with resume=auto.

    Attempts are forked from a process that has imported everything, so that one costs no more than what it does.

    Args:
        folder: of the shards, the run and what it prints.
        images: where it ends.
        more: further overrides.
    """

    def __init__(self, folder: Path, images: int, *more: str):
        folder.mkdir(parents=True)
        self.data, self.run, self.log = folder / "shards", folder / "run", folder / "log.txt"
        self.words = [
            *["train", *SMALL, f"max_images={images}", "callbacks=minimal", *more],
            *["callbacks.log.every=64", "callbacks.checkpoint.every=208", "callbacks.checkpoint.keep_every=null"],
            *[f"paths.data={self.data}", f"paths.run={self.run}", "resume=auto"],
        ]
        self.pid = 0

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    @property
    def lines(self) -> int:
        """Lines of the log, a whole one or not."""
        path = self.run / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    @property
    def attempts(self) -> int:
        path = self.run / "run.json"
        return len(json.loads(path.read_text())["attempts"]) if path.exists() else 0

    def start(self, *more: str) -> None:
        """Start an attempt and wait until it trains."""
        before = self.attempts
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child([*self.words, *more])
        self.wait_for(lambda: self.attempts > before)

    def _child(self, words: list[str]) -> None:
        code = 70
        try:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            # what Lightning starts the other processes of an attempt by
            sys.argv = [diffusion_lit.cli.__file__, *words]
            sys.modules["__main__"].__spec__ = None
            code = main(words)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def ended(self) -> int | None:
        """How the attempt ended (a negative signal if it was killed), or None while it runs."""
        if self.pid == 0:
            return 0
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return None
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; an attempt that ends before ends the test."""
        end = time.monotonic() + PATIENCE
        while not condition():
            code = self.ended()
            if code is not None:
                raise Finished(code)
            if time.monotonic() > end:
                raise AssertionError(f"nothing happened for {PATIENCE:.0f} s; see {self.log}:\n{self.said()}")
            time.sleep(1e-4)

    def finish(self) -> int:
        """Wait for the end of the attempt; its exit code."""
        end = time.monotonic() + PATIENCE
        while (code := self.ended()) is None:
            assert time.monotonic() < end, f"it does not end; see {self.log}:\n{self.said()}"
            time.sleep(0.01)
        return code

    def said(self) -> str:
        """The end of what the attempts have printed."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def kill(self, number: signal.Signals, *codes: int) -> None:
        """Send a signal; the attempt must end with one of these codes."""
        os.kill(self.pid, number)
        code = self.finish()
        assert code in codes, f"{number.name}: ended with {code}, expected {codes}\n{self.said()}"

    def log_lines(self) -> list[dict[str, Any]]:
        """The log without what depends on the clock and on the attempts."""
        return [without_times(line) for line in read(self.run / "metrics.jsonl") if "attempt" not in line]

    def saved(self) -> dict[str, Any]:
        """The last checkpoint."""
        return checkpoint.read(self.checkpoints / "last.ckpt")


class Finished(Exception):
    """The training was over before it could be disturbed."""


def same(one: Any, two: Any) -> bool:
    """Whether two checkpoints' contents are equal, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(value, two[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def run_script(parser: argparse.ArgumentParser, script: Callable[[Path, argparse.Namespace], None]) -> None:
    """Run a script in the folder that it is told, or in a temporary one."""
    torch.set_num_threads(1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="kept; a temporary one without it")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    script(folder, options)
    if options.folder is None:
        shutil.rmtree(folder)
