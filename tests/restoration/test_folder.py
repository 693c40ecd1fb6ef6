"""The folder of the results: locks that a dead process gives back, and what counts as finished."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.restoration import Folder, Input, list_inputs


def entry(folder: Path, name: str = "a.png") -> Input:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(name.encode())
    return Input(name, folder / name)


def test_finished_is_an_image_of_this_content_and_these_settings(tmp_path):
    image = entry(tmp_path / "in")
    folder = Folder(tmp_path / "out", {"seed": 0})
    assert not folder.finished(image, image.digest)
    folder.finish(image, image.digest, {"psnr": 1.0})
    assert folder.finished(image, image.digest)
    assert not folder.finished(image, "another content")
    assert Folder(tmp_path / "out", {"seed": 0}).finished(image, image.digest)
    with pytest.raises(UserError, match=r"1 images restored with other settings \(seed was 0 and is now 1\)"):
        Folder(tmp_path / "out", {"seed": 1})


def test_a_failure_is_tried_again_the_next_time(tmp_path):
    image = entry(tmp_path / "in")
    folder = Folder(tmp_path / "out", {})
    folder.fail(image, "broken")
    assert folder.tried(image)
    assert not folder.finished(image, image.digest)
    assert folder.rows([image]) == [{"image": "a.png", "error": "broken"}]
    time.sleep(0.01)
    assert not Folder(tmp_path / "out", {}).tried(image)


HOLD = """
import fcntl, sys, time
held, free = (open(path, "w") for path in sys.argv[1:])
try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    fcntl.flock(free, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_a_process_holds_nobody_else_takes_until_it_dies(tmp_path):
    folder = Folder(tmp_path, {})
    with folder.locked("images/c") as mine:
        assert mine
        (ours,) = tmp_path.rglob("*.lock")
        # the other finds our lock held, and takes the next
        other = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(ours), str(ours.with_stem("a"))], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
    with folder.locked("images/a", wait=False) as mine:
        assert not mine
    with folder.locked("images/b", wait=False) as mine:
        assert mine
    other.kill()
    other.communicate()
    with folder.locked("images/a") as mine:
        assert mine
    assert not list(tmp_path.rglob("*.lock"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        Folder(tmp_path / "file" / "out", {})


def test_inputs_are_listed_by_name_and_named_by_stem(tmp_path):
    for name in ("b.PNG", "a/c.jpg", "y.npy", "notes.txt", ".hidden/d.png", "out/e.png"):
        entry(tmp_path, name)
    found = list_inputs(tmp_path, without=tmp_path / "out")
    assert [image.name for image in found] == ["a/c.jpg", "b.PNG"]
    assert [image.name for image in list_inputs(tmp_path, arrays=True)] == ["a/c.jpg", "b.PNG", "out/e.png", "y.npy"]
    assert found[0].stem == "a/c"
    assert found[0].id == Input("a/c.png", Path("elsewhere")).id != found[1].id
    assert 0 <= found[0].id < 2**56
