"""A folder that keeps the shards that were fetched, within a limit, for all processes of a machine.

A file is named by the SHA-256 of what it holds, so any number of runs and packs may share the folder. It is written
aside as a .part, which its writer locks, and renamed when it is whole; the next goes on with the .part of a writer that
was killed. Who reads a file holds a shared lock on it, and only files that nobody holds are thrown out, first those
that were not read for longest. The locks are the kernel's (flock): they end with their process, however it ends.

webdataset's FileCache has no locks and looks at its size twice a minute, fsspec's has no limit, and filelock has no
locks that are shared.
"""

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from diffusion_lit.errors import UserError

__all__ = ["Cache", "NoRoomError"]

_LOCK = ".lock"
_POLL = 0.05  # seconds between two looks at what another process is fetching


class NoRoomError(Exception):
    """The file does not fit: the limit or the disk is too small for what is being read at the same time."""


@dataclass(frozen=True)
class Cache:
    """Files in a folder.

    Args:
        folder: made when first used; on a disk of this machine, for locks and for speed.
        gib: limit of all its files together, in GiB (2^30 bytes); files that are on their way count in full.

    Raises:
        UserError: the limit is not positive.
    """

    folder: str
    gib: float = 20.0

    def __post_init__(self) -> None:
        if not self.gib > 0:
            raise UserError(f"cache_gib: {self.gib}; give a size in GiB above 0, or cache=null for no cache.")

    def open(self, sha256: str, size: int, fetch: Callable[[BufferedIOBase], None]) -> BufferedIOBase:
        """Open a file for reading; it is not thrown out before it is closed.

        Args:
            sha256: of the file, which names it.
            size: its bytes.
            fetch: called with a .part open for reading and writing, perhaps half-filled, if the file is not there; it
                returns when the whole file is in it, checked. What it raises is raised here, and the .part is kept.

        Raises:
            NoRoomError: not even by throwing out all that is not being read.
            UserError: the folder cannot be used.
        """
        path, part = Path(self.folder, f"{sha256}.tar"), Path(self.folder, f"{sha256}.{size}.part")
        while True:
            try:
                if (file := _held(path, size)) is not None:
                    return file
                file = self._claimed(path, part, size)
            except OSError as error:
                raise UserError(
                    f"cache: {self.folder} cannot be used ({error.strerror or error}). Choose a folder on a disk of "
                    "this machine that you may write to, or cache=null for none."
                ) from error
            if file is not None:
                return self._filled(file, part, path, fetch)
            time.sleep(_POLL)

    def drop(self, sha256: str) -> None:
        """Forget a file that turned out to be damaged on this disk; who reads it keeps it."""
        Path(self.folder, f"{sha256}.tar").unlink(missing_ok=True)

    def _claimed(self, path: Path, part: Path, size: int) -> BufferedIOBase | None:
        """The .part, locked and with room for it, or None if another process has it or was faster."""
        with self._alone():
            if path.exists():
                return None
            file = part.open("a+b")
            if not _lock(file, fcntl.LOCK_EX):
                file.close()
                return None
            if not self._make_room(size, part.name):
                part.unlink()
                file.close()
                raise NoRoomError
            return file

    def _filled(
        self, file: BufferedIOBase, part: Path, path: Path, fetch: Callable[[BufferedIOBase], None]
    ) -> BufferedIOBase:
        try:
            fetch(file)
            file.flush()
        except OSError as error:  # the disk is full, or worse
            part.unlink(missing_ok=True)
            file.close()
            raise NoRoomError(error.strerror) from error
        except BaseException:
            file.close()
            raise
        with self._alone():
            os.replace(part, path)
        _lock(file, fcntl.LOCK_SH)  # from writing to reading
        file.seek(0)
        return file

    def _make_room(self, size: int, name: str) -> bool:
        files = sorted(_files(self.folder, name))
        excess = sum(full for _, full, _ in files) + size - int(self.gib * 2**30)
        for _, full, path in files:
            if excess <= 0:
                break
            with suppress(FileNotFoundError), open(path, "r+b") as file:
                if _lock(file, fcntl.LOCK_EX):
                    os.unlink(path)
                    excess -= full
        return excess <= 0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time claim, rename and throw out; none of it takes long."""
        os.makedirs(self.folder, exist_ok=True)
        with open(Path(self.folder, _LOCK), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _held(path: Path, size: int) -> BufferedIOBase | None:
    """Open a file that is there, locked for reading and marked as used now."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    if os.fstat(file.fileno()).st_size != size:  # something else wrote here
        file.close()
        path.unlink(missing_ok=True)
        return None
    with suppress(FileNotFoundError):  # thrown out a moment ago: what is open stays whole
        os.utime(path)
    return file


def _lock(file: BufferedIOBase, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _files(folder: str, but: str) -> Iterator[tuple[float, int, str]]:
    """Yield (last use, bytes, path) of our files in a folder, a .part with the bytes that it will have."""
    for entry in os.scandir(folder):
        ours = re.fullmatch(r"[0-9a-f]{64}\.(tar|(\d+)\.part)", entry.name)
        if ours and entry.name != but:
            with suppress(FileNotFoundError):
                status = entry.stat()
                yield status.st_mtime, int(ours[2] or status.st_size), entry.path
