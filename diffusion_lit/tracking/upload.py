"""Send a run folder to W&B: while it is written or afterwards, only what W&B does not have, under the run's identity.

The folder is the truth and W&B a view of it: whatever hinders W&B, nothing is lost that a later upload does not send.
`python -m diffusion_lit.tracking.upload RUN TARGET` is the process beside a training, which `WandbLogger` starts.
"""

import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

from diffusion_lit.errors import UserError
from diffusion_lit.files import hold
from diffusion_lit.tracking.lines import series
from diffusion_lit.tracking.machine import children
from diffusion_lit.tracking.record import RunRecord
from diffusion_lit.tracking.wandb_artifacts import checkpoint_artifacts, data_artifact
from diffusion_lit.tracking.wandb_contents import Contents, Item
from diffusion_lit.tracking.wandb_mark import Mark
from diffusion_lit.tracking.wandb_media import media
from diffusion_lit.tracking.wandb_target import REASON, Target
from diffusion_lit.tracking.words import quantity

__all__ = ["Busy", "Sent", "upload"]

_POLL = 2.0  # seconds
_FULL = 2**20  # bytes that are left of a disk that counts as full
_BEST = {"high": "max", "low": "min"}


class Busy(UserError):
    """Another process sends this run."""


@dataclass
class Sent:
    """How many lines and pictures were sent, how many rows W&B had before, where they are shown, W&B's own files."""

    lines: int = 0
    pictures: int = 0
    before: int = 0
    url: str | None = None
    files: Path | None = None


def upload(
    folder: str | Path,
    target: Target,
    *,
    follow: Callable[[], bool] = lambda: False,
    live: bool = False,
    seconds: float = 600.0,
) -> Sent:
    """Send what W&B does not have yet, and go on with what is added as long as `follow()` says so.

    A line becomes a row of W&B's history and a picture becomes another. W&B drops rows whose step is not larger than
    the last one's, so its step counts rows, and the x-axis of everything is images_seen. Online, W&B itself says how
    many rows it has; a file in wandb/ says which. An offline file always holds the whole run, and the older ones go.

    Args:
        folder: the run folder.
        target: where it goes.
        follow: waits, and says whether to look again.
        live: the parent process trains this run now: W&B measures the machine, too.
        seconds: to wait at the end for what is on its way.

    Raises:
        Busy: another process sends it, and goes on doing so.
        UserError: no run in `folder`, or not all of it arrived: run again.
    """
    record = RunRecord(folder)
    run, path = record.run, record.folder / "wandb"
    mode = os.environ.get("WANDB_MODE", "online")
    if mode == "disabled":
        return Sent()
    offline = target.offline or mode in ("offline", "dryrun")
    path.mkdir(exist_ok=True)
    while (lock := hold(path / ".lock")) is None:
        if not follow():
            raise Busy(f"{folder}: another process sends this run to W&B, and what is added; wait for it")
    with lock:
        for left in path.glob("passing-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        older = [*path.glob(f"offline-run-*-{run['identity']}"), *path.glob("data-*")] if offline else []
        staged = Path(tempfile.mkdtemp(prefix="data-" if offline else "passing-", dir=path))
        try:
            with _scratch(staged):
                sent = _send(record, target, offline, staged, follow, live, seconds)
        except Exception as error:  # W&B's own, Go's, the network's, the disk's: there is no list of them
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{folder}: not all of it is at W&B ({reason[:300]}). Nothing is lost, `diffusion-lit upload {folder}` "
                f"sends the rest"
            ) from error
        finally:
            if not offline:  # `wandb sync` needs what is staged for it
                shutil.rmtree(staged, ignore_errors=True)
        if shutil.disk_usage(path).free < _FULL:  # of which W&B itself says nothing
            raise UserError(
                f"{path}: the disk is full, so W&B's files there may not be whole. Free some space and send again"
            )
        for superseded in (each for each in older if each != sent.files):
            shutil.rmtree(superseded, ignore_errors=True)
    return sent


def _send(
    record: RunRecord,
    target: Target,
    offline: bool,
    staged: Path,
    follow: Callable[[], bool],
    live: bool,
    seconds: float,
) -> Sent:
    told, folder = record.run, record.folder
    settings = wandb.Settings(
        console="off",
        silent=True,
        x_disable_stats=not live,  # of another machine they would mislead
        x_disable_meta=not live,
        x_stats_pid=os.getppid(),
        init_timeout=60.0,
        finish_timeout=seconds,
        finish_timeout_raises=True,
    )
    run = wandb.init(
        id=told["identity"],
        name=folder.name if told["task_name"] in folder.name else f"{told['task_name']}-{folder.name}",
        project=target.project,
        entity=target.entity,
        group=told["task_name"],
        job_type="train",
        tags=told["tags"],
        config=record.config,
        resume="allow",
        dir=str(folder if offline else staged),
        mode="offline" if offline else "online",
        settings=settings,
    )
    try:
        contents = Contents(folder)
        items = contents.new()
        mark = Mark(None if offline else folder / "wandb" / f"sent-{_slug(run)}.txt")
        mark.settle(run.starting_step, (item.key for item in items))
        rows = _Rows(run, mark)
        sent = Sent(before=run.starting_step, url=run.url, files=Path(run.dir).parent)
        again = True
        while again:
            for item in items:
                if item.key not in mark:
                    rows.send(item)
                    sent.pictures += item.picture is not None
                    sent.lines += item.picture is None
            again = follow()
            items = contents.new()
            again = again or bool(items)
        run.summary.update(_summary(record))
        for artifact, aliases in checkpoint_artifacts(record, target.checkpoints, staged):
            run.log_artifact(artifact, aliases=aliases)
        if manifest := record.manifest:
            artifact, aliases = data_artifact(manifest)
            if offline:  # W&B offline records what a run makes, but not what it takes
                run.log_artifact(artifact, aliases=aliases)
            else:
                run.use_artifact(artifact, aliases=aliases)
    except BaseException:
        with suppress(Exception):
            run.finish(exit_code=1)
        raise
    run.finish()
    return sent


class _Rows:
    """Give items to W&B, each as one row under its step."""

    def __init__(self, run: Any, mark: Mark) -> None:
        self.run, self.mark = run, mark
        self.named: set[str] = set()
        run.define_metric("images_seen")
        run.define_metric("*", step_metric="images_seen")

    def send(self, item: Item) -> None:
        values = dict(item.values)
        for name in values.keys() - self.named - {"images_seen"}:
            best = _BEST.get(quantity(name).goal)
            self.run.define_metric(name, step_metric="images_seen", summary=f"{best},last" if best else "last")
        self.named |= values.keys()
        if item.picture is not None:
            values |= media(item.picture)
        if item.time is not None:
            values["_timestamp"] = item.time
        self.run.log(values, step=self.mark.add(item.key), commit=True)


def _summary(record: RunRecord) -> dict[str, Any]:
    """The best and the last value of each metric, and summary.json.

    W&B itself counts the best from the last resume on only.
    """
    metrics = record.read_metrics()
    summary: dict[str, Any] = {}
    for name in {name for line in metrics for name in line} - {"time", "images_seen"}:
        values = series(metrics, name)[1]
        best = _BEST.get(quantity(name).goal)
        finite = [value for value in values if value == value]  # not NaN
        summary[name] = values[-1]
        if best and finite:
            summary[name] = {best: (max if best == "max" else min)(finite), "last": values[-1]}
    return summary | record.summary


def _slug(run: Any) -> str:
    place = f"{re.sub('^https?://', '', run.settings.base_url)}-{run.entity}-{run.project}"
    return re.sub(r"[^\w.-]+", "-", place)


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Let W&B be silent, and stage files in `folder`, on the run folder's disk, unless the user says otherwise."""
    wanted = {"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder), "WANDB_SILENT": "true"}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ |= ours
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


def _main(*words: str) -> int:
    folder, target, seconds = words[:3]
    os.environ.pop("WANDB_SERVICE", None)  # W&B's own process, if the one that started this one has any, is its own
    with suppress(OSError):
        os.nice(10)

    def trains() -> bool:  # while its standard input is open
        return not select.select([sys.stdin], [], [], _POLL)[0]

    try:
        upload(folder, Target(**json.loads(target)), follow=trains, live=True, seconds=float(seconds))
    except Busy:
        return 0  # such as that of the training, beside which this one is an evaluation
    except UserError as error:
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        if not words[3:]:  # once more: W&B's own process falls to the SIGTERM that a scheduler sends to all of a job
            os.execv(sys.executable, [sys.executable, "-m", "diffusion_lit.tracking.upload", *words, "again"])
        print(f"{REASON}{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
