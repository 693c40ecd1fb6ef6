"""The run folder's file system: what checkpoints, locks and the order of attempts need of it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusion_lit.cluster.disk import Disk, existing
from diffusion_lit.cluster.memory import GIB
from diffusion_lit.cluster.preflight.result import Result, fine, stops, warns
from diffusion_lit.errors import UserError
from diffusion_lit.files import hold, writing
from diffusion_lit.tracking.record import RunRecord

__all__ = ["cache", "clock", "locks", "occupied", "space", "writes"]

_SKEW = 2.0  # seconds; some file systems keep whole seconds
_TAKE = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=existing(folder)) as scratch:
        yield Path(scratch)


def writes(folder: Path) -> Result:
    """Do what a checkpoint does in the folder: write, put on the disk, rename, give a second name, remove."""
    try:
        with _scratch(folder) as scratch:
            for _ in range(2):  # the second replaces the first
                with writing(scratch / "last.ckpt") as aside:
                    aside.write_bytes(bytes(4096))
            try:
                os.link(scratch / "last.ckpt", scratch / "previous.ckpt")
            except OSError as error:
                return warns(
                    f"{folder}: no hard links ({error.strerror}), so each kept checkpoint is copied",
                    "choose paths.runs on another file system",
                )
    except (OSError, UserError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return stops(f"{folder}: cannot be written ({reason})", "choose another paths.runs, or ask for its rights")
    return fine(f"{folder}: written, renamed and linked" if folder.is_dir() else f"{existing(folder)}: can be written")


def locks(folder: Path) -> Result:
    """See that a lock in the folder keeps another process of this machine out, as that of a run must."""
    try:
        with _scratch(folder) as scratch:
            path = scratch / ".lock"
            kept = hold(path)
            assert kept is not None
            with kept:
                words = [sys.executable, "-S", "-c", _TAKE, str(path)]
                refused = subprocess.run(words, capture_output=True, timeout=30).returncode != 0
    except (OSError, subprocess.SubprocessError) as error:
        return warns(f"{folder}: could not be tried ({error})")
    if not refused:
        return warns(
            f"{folder}: locks keep nobody out, so two trainings of one run would not notice each other",
            "mount the file system with locks (such as -o flock), or start no run twice",
        )
    return fine("a second training of the run is refused")


def clock(folder: Path) -> Result:
    """Compare this machine's clock with that of the file system, which may be another machine's."""
    try:
        with _scratch(folder) as scratch:
            before = time.time()
            (scratch / "now").write_bytes(b"now")
            skew = (scratch / "now").stat().st_mtime - (before + time.time()) / 2
    except OSError as error:
        return warns(f"{folder}: could not be tried ({error})")
    if abs(skew) > _SKEW:
        how = "before" if skew > 0 else "behind"
        return warns(
            f"the file system's clock is {abs(skew):.0f} s {how} this machine's: ages of files and attempts mislead",
            "set both by NTP (timedatectl)",
        )
    return fine("this machine and the file system agree")


def occupied(folder: Path, identity: str, resume: bool) -> Result:
    """Tell whether another run, or this one, stands in the folder already.

    Args:
        folder: of the run.
        identity: of the run that is checked.
        resume: whether it would go on.
    """
    record = RunRecord(folder)
    if not record.exists:
        return fine("starts anew")
    run = record.run
    if run.get("identity") != identity:
        return stops(f"{folder}: holds another run, {run.get('identity')}", "another task_name, or paths.run=FOLDER")
    done = f"{folder}: holds this run, at {run['attempts'][-1]['images_seen']:,} images"
    if (lock := hold(folder / ".lock")) is None:
        return stops(f"{done}, and another process trains it now", "wait for it, or stop it")
    lock.close()
    return fine(f"{done}, and goes on") if resume else stops(done, "resume=auto goes on, another task_name starts anew")


def space(folder: Path, disk: Disk) -> Result:
    """Compare what the run will keep with what is free.

    Args:
        folder: of the run.
        disk: what it takes.
    """
    there = existing(folder)
    free = shutil.disk_usage(there).free
    found = f"{disk.files} checkpoints take {disk.needed / GIB:.3g} GiB, {free / GIB:.3g} GiB are free in {there}"
    mend = "free some, choose another paths.runs, or keep less (callbacks.checkpoint.keep)"
    if disk.needed > free:
        return stops(found, mend)
    return warns(found, mend) if disk.needed > 0.8 * free else fine(found)


def cache(folder: str | None, gib: float) -> Result:
    """Compare the limit of the cache of shards with what is free where it lies.

    Args:
        folder: data.cache; None: there is none.
        gib: data.cache_gib.
    """
    if folder is None:
        return fine("no data.cache")
    there = existing(folder)
    held = sum(path.stat().st_size for path in Path(folder).glob("*.tar")) if Path(folder).is_dir() else 0
    free = (shutil.disk_usage(there).free + held) / GIB
    if not os.access(there, os.W_OK | os.X_OK):
        return stops(f"{folder}: cannot be written", "data.cache=FOLDER that you may write to, or data.cache=null")
    if gib > free:
        return warns(
            f"data.cache_gib={gib:g} is more than the {free:.3g} GiB for it in {there}", "a smaller data.cache_gib"
        )
    return fine(f"{folder}: {gib:g} of {free:.3g} GiB")
