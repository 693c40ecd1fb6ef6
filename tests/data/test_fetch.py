"""Files by http: broken transfers go on where they stopped, busy servers are asked again, hopeless ones are named."""

import io
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffusion_lit.data.fetch import Patience, download
from diffusion_lit.errors import UserError
from tests.data.server import HASTE, Server, serving

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(CONTENT)
    with serving(tmp_path) as server:
        yield server


def _get(server: Server, file: io.BytesIO | None = None, name: str = "file", **patience: object) -> bytes:
    file = io.BytesIO() if file is None else file
    told = Patience(**{**vars(HASTE), **patience})
    download(f"{server.url}/{name}", file, len(CONTENT), told)
    return file.getvalue()


def test_a_transfer_that_breaks_goes_on_where_it_stopped(server: Server) -> None:
    server.faults["file"].extend([("drop", 100_000), ("drop", 50_000)])
    assert _get(server) == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.sent == len(CONTENT)


def test_what_is_there_is_not_transferred_again(server: Server) -> None:
    assert _get(server, io.BytesIO(CONTENT[:200_000])) == CONTENT
    assert server.sent == 100_000
    assert _get(server, io.BytesIO(CONTENT)) == CONTENT
    assert server.requests["file"] == 1


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        pytest.param([503] * 2, 3, id="busy"),
        pytest.param([429, 500, 502], 4, id="429, 500, 502"),
        pytest.param([("stall", 99)], 2, id="a timeout"),
        pytest.param([("short", 99)], 2, id="a file cut short"),
        pytest.param([("drop", 9), "again"], 2, id="no ranges"),
        pytest.param([("other", CONTENT * 2)], 2, id="a file that is longer"),
        pytest.param([("drop", 99), ("short", 99)], 3, id="a file that became shorter"),
    ],
)
def test_what_may_pass_is_asked_again(server: Server, faults: list, requests: int) -> None:
    server.faults["file"].extend(faults)
    assert _get(server) == CONTENT
    assert server.requests["file"] == requests


def test_a_busy_server_says_how_long_to_wait(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("diffusion_lit.data.fetch._SILENT", 0.5)
    server.faults["file"].append(503)
    server.retry_after = "1"
    began = time.monotonic()
    assert _get(server, longest=5.0) == CONTENT
    assert time.monotonic() - began > 0.9
    assert "/file: status 503 Service Unavailable; asked again in 1 s" in caplog.text


def test_it_gives_up_and_names_url_answer_and_requests(server: Server) -> None:
    server.faults["file"].extend([503, "for ever"])
    with pytest.raises(UserError, match=rf"^{server.url}/file: given up after 4 requests.*status 503 Service Unavail"):
        _get(server)
    assert server.requests["file"] == 4


def test_a_file_that_is_short_for_ever_ends_too(server: Server) -> None:
    server.faults["file"].extend([("short", 200_000), "for ever"])
    with pytest.raises(UserError, match=r"given up after \d+ requests"):
        _get(server, progress=100_000)  # it grows from nothing again and again, which is no progress
    assert server.requests["file"] == 4


def test_progress_starts_the_count_anew(server: Server) -> None:
    server.faults["file"].extend([("drop", 50_000)] * 5)
    assert _get(server, progress=50_000) == CONTENT
    server.faults["file"].extend([("drop", 50_000)] * 5)
    with pytest.raises(UserError, match=r"given up after 4 requests.*200,000 bytes have arrived"):
        _get(server)


def test_what_will_not_pass_is_said_at_once(server: Server) -> None:
    with pytest.raises(UserError, match=r"/nothing: status 404 Not Found\. Check the address"):
        _get(server, name="nothing")
    assert server.requests["nothing"] == 1
    server.faults["file"].append(403)
    with pytest.raises(UserError, match="status 403 Forbidden"):
        _get(server)


def test_no_server_is_said_after_some_attempts(server: Server) -> None:
    gone = Patience(attempts=2, first=0.01)
    with pytest.raises(UserError, match=r"given up after 2 requests.*Connection refused"):
        download("http://127.0.0.1:9/file", io.BytesIO(), patience=gone)


def test_waiting_grows_has_a_limit_and_leaves_the_random_generator_alone() -> None:
    patience, state = Patience(first=1.0, longest=20.0), random.getstate()
    for failures, most in enumerate([1, 2, 4, 8, 16, 20, 20], 1):
        drawn = [patience.seconds(failures) for _ in range(200)]
        assert most / 2 <= min(drawn) < max(drawn) <= most
        assert max(drawn) - min(drawn) > most / 4
    assert (patience.seconds(1, 5.0), patience.seconds(1, 3600.0)) == (5.0, 20.0)
    assert random.getstate() == state
