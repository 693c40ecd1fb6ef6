"""The cache never gives half a file, keeps to its limit, and leaves alone what is being read."""

import errno
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from hashlib import sha256
from io import BufferedIOBase
from pathlib import Path

import pytest

from diffusion_lit.data.cache import Cache, NoRoomError
from diffusion_lit.errors import UserError
from tests.data.server import until

SIZE = 10_000
FILES = {sha256(data).hexdigest(): data for data in (random.Random(i).randbytes(SIZE) for i in range(12))}
NAMES = list(FILES)
FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def _cache(folder: Path, files: float) -> Cache:
    return Cache(str(folder), files * SIZE / 2**30)


def _fetch(name: str, log: list[str] | None = None) -> Callable[[BufferedIOBase], None]:
    def fetch(file: BufferedIOBase) -> None:
        if log is not None:
            log.append(name)
        start = file.seek(0, os.SEEK_END)
        for i in range(start, SIZE, 1000):
            file.write(FILES[name][i : i + 1000])
            file.flush()

    return fetch


def _read(cache: Cache, name: str, log: list[str] | None = None) -> None:
    with cache.open(name, SIZE, _fetch(name, log)) as file:
        assert file.read() == FILES[name]


def _there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    log: list[str] = []
    for _ in range(3):
        _read(_cache(tmp_path, 2), NAMES[0], log)
    assert log == NAMES[:1]
    assert _there(tmp_path) == {f"{NAMES[0]}.tar"}


def test_what_was_not_read_for_longest_goes_first_and_only_what_is_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_bytes(bytes(5 * SIZE))
    cache = _cache(tmp_path, 3)
    for i, name in enumerate(NAMES[:3]):
        _read(cache, name)
        os.utime(tmp_path / f"{name}.tar", (i, i))
    _read(cache, NAMES[0])
    _read(cache, NAMES[3])
    assert _there(tmp_path) == {f"{NAMES[i]}.tar" for i in (0, 2, 3)} | {"thesis.tex"}


def test_what_is_being_read_stays_and_then_there_may_be_no_room(tmp_path: Path) -> None:
    cache = _cache(tmp_path, 2)
    with cache.open(NAMES[0], SIZE, _fetch(NAMES[0])) as first:
        for name in NAMES[1:4]:
            _read(cache, name)
        assert f"{NAMES[0]}.tar" in _there(tmp_path)
        with cache.open(NAMES[3], SIZE, _fetch(NAMES[3])), pytest.raises(NoRoomError):
            _read(cache, NAMES[4])
        assert first.read() == FILES[NAMES[0]]
    _read(cache, NAMES[4])
    with pytest.raises(NoRoomError):
        _read(_cache(tmp_path, 0.5), NAMES[5])
    assert not any(name.endswith(".part") for name in _there(tmp_path))


def test_the_rest_of_what_a_killed_process_fetched_is_fetched(tmp_path: Path) -> None:
    cache, part = _cache(tmp_path, 2), tmp_path / f"{NAMES[0]}.{SIZE}.part"

    def hang(file: BufferedIOBase) -> None:
        file.write(FILES[NAMES[0]][:4000])
        file.flush()
        signal.pause()

    writer = FORK.Process(target=cache.open, args=(NAMES[0], SIZE, hang))
    writer.start()
    until(lambda: part.exists() and part.stat().st_size == 4000)
    starts: list[int] = []

    def rest(file: BufferedIOBase) -> None:
        starts.append(file.seek(0, os.SEEK_END))
        _fetch(NAMES[0])(file)

    reader = FORK.Process(target=_read, args=(cache, NAMES[0]))  # waits: nobody reads half a file
    reader.start()
    reader.join(0.3)
    assert reader.is_alive()
    os.kill(writer.pid, signal.SIGKILL)
    reader.join(10)
    assert reader.exitcode == 0
    writer.join()
    part.write_bytes(FILES[NAMES[0]][:7000])
    (tmp_path / f"{NAMES[0]}.tar").unlink()
    with cache.open(NAMES[0], SIZE, rest) as file:
        assert file.read() == FILES[NAMES[0]]
    assert starts == [7000]


def test_a_file_of_another_size_is_fetched_again_and_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    cache = _cache(tmp_path, 2)
    (tmp_path / f"{NAMES[0]}.tar").write_bytes(b"half")
    _read(cache, NAMES[0])

    def full(file: BufferedIOBase) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(NoRoomError, match="No space left"):
        cache.open(NAMES[1], SIZE, full)
    assert _there(tmp_path) == {f"{NAMES[0]}.tar"}


def test_bad_folders_and_limits_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cache: \S*file cannot be used \(.*\)\. Choose a folder"):
        _read(_cache(tmp_path / "file", 2), NAMES[0])
    with pytest.raises(UserError, match=r"cache_gib: -1"):
        Cache(str(tmp_path), -1.0)


def _hammer(cache: Cache, seed: int, failures: object) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        try:
            _read(cache, draw.choice(NAMES))
        except NoRoomError:
            failures.put(seed)


def test_processes_share_it(tmp_path: Path) -> None:
    limit, failures = 5, FORK.Queue()
    workers = [FORK.Process(target=_hammer, args=(_cache(tmp_path, limit), i, failures)) for i in range(4)]
    for worker in workers:
        worker.start()
    most = 0
    while any(worker.is_alive() for worker in workers):
        sizes = []
        for path in tmp_path.glob("*.tar"):
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:
                continue
        most = max(most, sum(sizes))
    assert [worker.exitcode for worker in workers] == [0] * 4  # each compared all that it read
    assert limit * SIZE / 2 < most <= limit * SIZE
    assert failures.empty()
