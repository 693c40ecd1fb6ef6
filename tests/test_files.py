import errno
import os
import signal
from pathlib import Path

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.files import hold, write_text, writing


def fail(path: Path, error: BaseException) -> None:
    with writing(path) as aside:
        aside.write_text("half")
        raise error


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "notes.txt"
    with writing(path) as aside:
        assert aside.parent == path.parent
        aside.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"
    assert os.listdir(path.parent) == ["notes.txt"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_what_stood_there_survives_a_failure(tmp_path: Path, error: BaseException):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        fail(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_full_disk_is_the_users_to_mend(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(UserError, match=r"notes\.txt.*No space left on device") as caught:
        fail(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        write_text(tmp_path / "file" / "notes.txt", "text")
    assert (tmp_path / "file").read_text() == "in the way"


def test_text_is_utf_8(tmp_path: Path):
    write_text(tmp_path / "notes.txt", "5 µm\n")
    assert (tmp_path / "notes.txt").read_bytes() == "5 µm\n".encode()


def test_one_process_holds_a_lock_until_it_ends(tmp_path: Path):
    """Also when it is killed: the kernel gives the lock back."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = hold(tmp_path / "lock")
        os.write(write, b"held" if held else b"none")
        signal.pause()
    assert os.read(read, 4) == b"held"
    assert hold(tmp_path / "lock") is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    lock = hold(tmp_path / "lock")
    assert lock is not None
    lock.close()
