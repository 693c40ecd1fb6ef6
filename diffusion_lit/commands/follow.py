"""Evaluate each new checkpoint of a run that trains elsewhere: in another job, or on another machine."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusion_lit import checkpoint
from diffusion_lit.commands.evaluations import Evaluations, evaluation_config, update_wandb
from diffusion_lit.configuration import split_arguments
from diffusion_lit.errors import UserError
from diffusion_lit.files import hold
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.summary import summarize_run

__all__ = ["Follower", "follow"]

_LOOK = 0.2  # seconds between two looks at the signals


def follow(words: Sequence[str]) -> int:
    """Run `diffusion-lit evaluate --follow RUN`; return 0 at the run's end, else 128 + the signal that stopped it."""
    words = list(words)
    place = words.index("--follow")
    if words[place + 1 : place + 2] == [] or "=" in words[place + 1]:
        raise UserError("evaluate --follow: which run? --follow runs/demo")
    folder = Path(words[place + 1])
    rest = [*words[:place], *words[place + 2 :]]
    left_out = [word for word in rest if word.startswith("~")]
    arguments, overrides = split_arguments([word for word in rest if word not in left_out], {"every": 30.0})
    if not arguments["every"] > 0:
        raise UserError(f"every={arguments['every']:g}: must be a number of seconds above 0")
    folder.mkdir(parents=True, exist_ok=True)  # the run may be about to start
    if (lock := hold(folder / ".follow.lock")) is None:
        raise UserError(f"{folder}: another process follows this run already; one is enough")
    with lock, _signals() as heard:
        follower = Follower(folder, [*left_out, *overrides])
        while not heard and not follower.step():
            _wait(arguments["every"] if follower.idle else 0.0, heard)
        if heard:
            print(f"{heard[0].name}: stopped following {folder}; the same command goes on", flush=True)
            return 128 + heard[0]
        follower.finish()
    return 0


class Follower:
    """Evaluate the checkpoints of a run one by one: kept ones in their order, then the last, each once.

    What was evaluated stands in followed.jsonl, one line a checkpoint: training alone writes metrics.jsonl. Where the
    run goes back to an earlier checkpoint, training cuts both; see `RunRecord.start`.

    Args:
        folder: the run folder, in which no run need have started.
        words: key=value and ~key, as for `evaluation_config`.
        make: configuration -> evaluations.
    """

    def __init__(self, folder: Path, words: Sequence[str] = (), make: Callable[..., Evaluations] = Evaluations) -> None:
        self.record, self.words, self.make = RunRecord(folder), words, make
        self.idle = False  # whether the last step found nothing to evaluate
        self._evaluations: Evaluations | None = None
        self._attempts: int | None = None
        self._passed_over: set[tuple[str, int, int]] = set()  # damaged checkpoints, or last ones that are evaluated
        self._told = ""

    def step(self) -> bool:
        """Evaluate the next checkpoint, if there is one; return whether the run is finished and there is none."""
        self.idle = True
        if not self.record.exists:
            self._tell("has not started yet")
            return False
        run = self.record.run  # before its checkpoints: those of a finished run are all there
        self._go_back(run)
        found = self._next()
        if found is None:
            attempt = run["attempts"][-1]
            ended = f"; attempt {len(run['attempts'])} ended ({attempt['ended']})" if attempt.get("ended") else ""
            if not run["finished"]:
                self._tell(f"is evaluated up to {attempt['images_seen']:,} images{ended}")
            return bool(run["finished"])
        self.idle = False
        path, state = found
        began = time.monotonic()
        evaluations = self._built()
        metrics = evaluations.at(path, state)
        images_seen = evaluations.module.trained_images
        self.record.log_followed({"images_seen": images_seen, "time": time.time(), **metrics})
        self._go_back(self.record.run)
        print(f"{path}: {images_seen:,} images, {len(metrics)} numbers in {time.monotonic() - began:.0f} s", flush=True)
        return False

    def finish(self) -> None:
        """Write summary.json of the last checkpoint, as `evaluate` does, and send to W&B what training did not."""
        lines = self.record.read_followed()
        run, evaluations = self.record.run, self._built()
        ended = run["attempts"][-1]["images_seen"]
        [*_, line] = [line for line in lines if line["images_seen"] == ended] or [None]
        if line is None:
            raise UserError(
                f"{self.record.folder}: is finished, but its last checkpoint, of {ended:,} images, cannot be read, so "
                f"there is no summary.json; what was evaluated is in followed.jsonl"
            )
        metrics = {name: value for name, value in line.items() if name not in ("images_seen", "time")}
        facts = {"images_seen": line["images_seen"], "train_seconds": run["train_seconds"]}
        self.record.write_summary(summarize_run(metrics, evaluations.baselines, **facts))
        update_wandb(evaluation_config(self.record, self.words).logger)
        print(f"{self.record.folder}: finished, {len(lines)} checkpoints evaluated, summary.json written", flush=True)

    def _next(self) -> tuple[Path, dict[str, Any]] | None:
        """The next checkpoint and what it holds; one that is damaged is told once and passed over."""
        done = {line["images_seen"] for line in self.record.read_followed()}
        folder = self.record.folder / "checkpoints"
        kept = [path for path in sorted(folder.glob("images-*.ckpt")) if int(path.stem[7:]) not in done]
        for path in [*kept, folder / checkpoint.LAST]:
            try:
                there = path.stat()
            except FileNotFoundError:  # old ones are pruned
                continue
            mark = (path.name, there.st_mtime_ns, there.st_size)
            if mark in self._passed_over:
                continue
            try:
                state = checkpoint.read(path)
            except UserError as error:
                if path.exists():
                    self._passed_over.add(mark)
                    print(f"passed over: {error}", flush=True)
                continue
            if state["diffusion_lit"]["images_seen"] not in done:
                return path, state
            self._passed_over.add(mark)
        return None

    def _built(self) -> Evaluations:
        if self._evaluations is None:
            config = evaluation_config(self.record, self.words)
            given = {word.lstrip("+").partition("=")[0] for word in self.words}
            if refused := given & {"trainer.devices", "trainer.num_nodes", "trainer.strategy"}:
                raise UserError(f"{refused.pop()}: one process with one device follows a run; leave it out")
            alone = {"devices": 1, "num_nodes": 1, "strategy": "auto"}  # whatever the run trains on
            config.trainer, config.logger = {**config.trainer, **alone}, {}
            self._evaluations = self.make(config)
            self._evaluations.describe(self.record.folder)
        return self._evaluations

    def _go_back(self, run: dict[str, Any]) -> None:
        """Forget what was evaluated past the checkpoint that a new attempt goes on from, or while it started."""
        attempts = run["attempts"]
        if self._attempts is not None and len(attempts) > self._attempts:
            self.record.cut_followed(min(attempt["from_images_seen"] for attempt in attempts[self._attempts :]))
        if self._attempts != len(attempts):
            self._passed_over.clear()
        self._attempts = len(attempts)

    def _tell(self, state: str) -> None:
        if state != self._told:
            print(f"waiting: {self.record.folder} {state}", flush=True)
        self._told = state


def _wait(seconds: float, heard: list[signal.Signals]) -> None:
    end = time.monotonic() + seconds
    while not heard and time.monotonic() < end:
        time.sleep(min(_LOOK, seconds))


@contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    """Note SIGINT and SIGTERM, to be looked at between two evaluations; a second Ctrl-C stops at once."""
    heard: list[signal.Signals] = []

    def note(number: int, frame: Any) -> None:
        if heard and number == signal.SIGINT:
            raise KeyboardInterrupt
        heard.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
