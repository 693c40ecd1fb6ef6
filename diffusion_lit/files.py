"""Writing files so that no reader ever sees half of one: write aside, then rename; and holding what is one's own."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from diffusion_lit.errors import UserError

__all__ = ["hold", "write_text", "writing"]


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it becomes `path` if the block succeeds and is removed if it fails.

    It is on the disk before it is renamed, and so is its name before the block ends: a machine that loses its power
    leaves the old file or the new one.

    Args:
        path: where the file shall stand; its folder is made if it is missing.

    Raises:
        UserError: the disk is full or the folder cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)
    except OSError as error:
        raise UserError(
            f"{path}: could not be written ({error.strerror or error}). Nothing was left half-written there; free some "
            f"space or choose a folder that you may write to, then run the same command again."
        ) from error
    finally:
        with suppress(OSError):  # it was renamed, or its folder is none
            aside.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(path: str | Path) -> IO[str] | None:
    """Take a lock that the kernel gives back when this process ends, however it ends.

    Args:
        path: of the lock's file, which is made.

    Returns:
        What keeps the lock as long as it is open; None if another process has it. A file system without locks gives
        it to everyone.
    """
    file = Path(path).open("a")  # noqa: SIM115 (it stays open: closing it gives the lock back)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            return None
    return file


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` whole or not at all; raises UserError as `writing` does."""
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")
