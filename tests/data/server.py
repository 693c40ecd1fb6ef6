"""A web server on loopback that serves a folder, and misbehaves as told."""

import re
import socket
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from diffusion_lit.data.fetch import Patience

HASTE = Patience(attempts=4, first=0.01, longest=0.1, timeout=(2.0, 0.4), progress=1 << 30)


class Server(ThreadingHTTPServer):
    """Serves `folder`; `faults[name]` is a queue of what goes wrong with the next requests for that file.

    A fault is an int (a status), ("drop", n) and ("stall", n) after n bytes of the body, ("short", n) for a file that
    has n bytes only, ("other", bytes) for another file of any content, "again" to send all of it when a range was asked
    for, or "ok". A queue that ends with "for ever" repeats the fault before it.
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults: dict[str, deque] = defaultdict(deque)
        self.requests: Counter[str] = Counter()
        self.ranges: list[str | None] = []
        self.sent = 0
        self.retry_after: str | None = None
        self.closing = threading.Event()

    def fault(self, name: str) -> object:
        queue = self.faults[name]
        if not queue:
            return "ok"
        return queue[0] if len(queue) > 1 and queue[1] == "for ever" else queue.popleft()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, name = self.server, self.path.strip("/")
        server.requests[name] += 1
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        fault = server.fault(name)
        kind, value = fault if isinstance(fault, tuple) else (fault, None)
        path = server.folder / name
        if isinstance(kind, int) or not path.is_file():
            self.send_response(kind if isinstance(kind, int) else 404)
            self.send_header("Content-Length", "0")
            if server.retry_after:
                self.send_header("Retry-After", server.retry_after)
            return self.end_headers()
        body = {"short": lambda: path.read_bytes()[:value], "other": lambda: value}.get(kind, path.read_bytes)()
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and kind != "again" else 0
        if start >= len(body) > 0:
            self.send_response(416)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        part = body[:value] if kind in ("drop", "stall") else body
        self.wfile.write(part)
        self.wfile.flush()
        server.sent += len(part)
        if kind == "stall":
            server.closing.wait(5)
        if kind in ("drop", "stall"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def until(condition, seconds: float = 10.0) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
