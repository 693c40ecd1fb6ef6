"""Opening a shard wherever it lies: what comes by a URL is checked on arrival, and fetched again if damaged."""

import hashlib
import io
import time
import warnings
from collections.abc import Iterator
from io import BufferedIOBase

from webdataset.gopen import gopen

from diffusion_lit.data.cache import Cache, NoRoomError
from diffusion_lit.data.fetch import PATIENCE, download, is_http
from diffusion_lit.data.places import is_local
from diffusion_lit.errors import UserError

__all__ = ["digest", "open_shard", "read_bytes"]

_ARRIVALS = 3  # attempts to get a whole shard; within one, `download` has its own patience
_CHUNK = 1 << 20


def open_shard(place: str, size: int, sha256: str, cache: Cache | None) -> BufferedIOBase:
    """Open a shard for reading.

    A local file is opened as it is. What a URL names is fetched first, into the cache or into memory, and compared with
    the manifest.

    Args:
        place: path or URL.
        size: bytes of the shard.
        sha256: of the shard.
        cache: where what comes by a URL is kept.

    Raises:
        OSError: a local file that is not there.
        UserError: a URL that does not give the shard, after several attempts.
    """
    if is_local(place):
        return open(place, "rb")
    if cache is not None:
        try:
            return cache.open(sha256, size, lambda file: _fetch(place, file, size, sha256))
        except NoRoomError as error:
            warnings.warn(
                f"cache: no room for {size:,} bytes in {cache.folder} ({error or 'all of it is being read'}), shards "
                f"are read past it. Free its disk, or give it more than cache_gib={cache.gib:g}.",
                stacklevel=2,
            )
    memory = io.BytesIO()
    _fetch(place, memory, size, sha256)
    memory.seek(0)
    return memory


def read_bytes(place: str) -> bytes:
    """Read a small file of a pack, such as its manifest.

    Raises:
        OSError: a local file or a command that fails.
        UserError: a URL that does not answer.
    """
    if is_http(place):
        memory = io.BytesIO()
        download(place, memory)
        return memory.getvalue()
    with open(place, "rb") if is_local(place) else gopen(place) as stream:
        return stream.read()


def digest(stream: BufferedIOBase) -> str:
    """SHA-256 of what a stream has left, in hexadecimal."""
    found = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


def _fetch(place: str, file: BufferedIOBase, size: int, sha256: str) -> None:
    reason = ""
    for attempt in range(1, _ARRIVALS + 1):
        if is_http(place):
            download(place, file, size)
        else:
            reason = _copy(place, file)
        file.seek(0)
        found = digest(file)
        if found == sha256:
            return
        reason = reason or f"{file.tell():,} bytes with SHA-256 {found[:12]}..."
        file.seek(0)
        file.truncate()
        if attempt < _ARRIVALS:
            time.sleep(PATIENCE.seconds(attempt))
    raise UserError(
        f"{place}: the shard is truncated or damaged there: {reason} found, {size:,} bytes with SHA-256 "
        f"{sha256[:12]}... expected by manifest.json, fetched {_ARRIVALS} times. Copy the pack to there again, or pack "
        "anew."
    )


def _copy(place: str, file: BufferedIOBase) -> str:
    """Write what a command or file gives into `file`; say what went wrong with it, if something did."""
    file.seek(0)
    file.truncate()
    chunks = _chunks(place)
    while True:
        try:
            chunk = next(chunks, None)
        except OSError as error:  # of the command; what `file.write` raises is another matter
            return f"{type(error).__name__} ({error})"
        if chunk is None:
            return ""
        file.write(chunk)


def _chunks(place: str) -> Iterator[bytes]:
    with gopen(place) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
