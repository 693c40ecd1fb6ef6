"""One file by http(s): a broken transfer goes on where it stopped, and a server that is busy is asked again later.

requests knows what a cluster needs (proxies, netrc, certificates of the environment). The loop around it is ours:
urllib3's Retry does not go on within a body, comes back to a busy server at once, and draws its jitter from Python's
global generator, which training seeds.
"""

import logging
import os
from dataclasses import dataclass
from io import BufferedIOBase
from random import SystemRandom
from time import sleep

import requests
from requests.exceptions import SSLError
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from diffusion_lit.errors import UserError

__all__ = ["BUSY", "PATIENCE", "Patience", "download", "is_http"]

_log = logging.getLogger(__name__)
_SILENT = 3.0  # seconds of waiting that the user need not know of
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that are asked again


@dataclass(frozen=True)
class Patience:
    """How often and how long to wait for a server.

    Args:
        attempts: failures in a row before giving up; a file that grew by `progress` bytes starts the count anew.
        first: seconds before the second request; doubled for each further one, times a random factor in [0.5, 1], so
            that many processes do not come back at once.
        longest: seconds, also of what a server asks for by Retry-After.
        timeout: seconds without a connection, and without a byte.
        progress: bytes.
    """

    attempts: int = 8
    first: float = 0.5
    longest: float = 60.0
    timeout: tuple[float, float] = (10.0, 60.0)
    progress: int = 1 << 20

    def seconds(self, failures: int, asked: float | None = None) -> float:
        """Seconds to wait after so many failures in a row; `asked` is what the server's Retry-After says."""
        backoff = min(self.longest, self.first * 2 ** (failures - 1)) * SystemRandom().uniform(0.5, 1.0)
        return backoff if asked is None else max(backoff, min(asked, self.longest))


PATIENCE = Patience()


class _BrokenOff(Exception):
    """A request that did not bring the rest of the file, and may be repeated."""

    def __init__(self, reason: str, asked: float | None = None):
        self.reason, self.asked = reason, asked


def is_http(place: str) -> bool:
    """Tell what `download` reads from other URLs and paths."""
    return place.startswith(("http://", "https://"))


def download(url: str, file: BufferedIOBase, size: int | None = None, patience: Patience | None = None) -> None:
    """Write what is at `url` into `file`, from where the file ends: what it holds already is not transferred again.

    Asked again are statuses 408, 425, 429 and 5xx (after Retry-After, if given), timeouts, connections that are refused
    or break, and bodies that are shorter or longer than announced or than `size`.

    Args:
        url: http: or https:.
        file: open for reading and writing; empty, or the first part of what is at `url`.
        size: bytes expected, if known.
        patience: PATIENCE without it.

    Raises:
        UserError: any other status, a certificate that does not hold, or `patience.attempts` failures in a row; `file`
            keeps what has arrived.
    """
    patience = patience or PATIENCE
    sent = failures = most = 0
    with requests.Session() as session:
        transfer = _Transfer(session, url, file, size, patience.timeout)
        while True:
            try:
                sent += 1
                return transfer.go_on()
            except _BrokenOff as broken:
                arrived = file.seek(0, os.SEEK_END)
                failures = 1 if arrived - most >= patience.progress else failures + 1
                most = max(most, arrived)
                if failures >= patience.attempts:
                    raise UserError(
                        f"{url}: given up after {sent} requests, the last {failures} without progress; at last: "
                        f"{broken.reason}. {arrived:,} bytes have arrived. Check that the server is up and can serve "
                        "ranks x workers readers, then start again."
                    ) from broken
                wait = patience.seconds(failures, broken.asked)
                if wait > _SILENT:
                    _log.warning("%s: %s; asked again in %.0f s", url, broken.reason, wait)
                sleep(wait)


class _Transfer:
    def __init__(
        self, session: requests.Session, url: str, file: BufferedIOBase, size: int | None, timeout: tuple[float, float]
    ):
        self.session, self.url, self.file, self.size, self.timeout = session, url, file, size, timeout
        self.version: str | None = None  # as the server names it: parts of two versions are not put together

    def go_on(self) -> None:
        """Ask for the rest of the file."""
        start = self.file.seek(0, os.SEEK_END)
        if start and start == self.size:
            return
        headers = {"Accept-Encoding": "identity"}  # half of a compressed body is of no use
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.version:
                headers["If-Range"] = self.version
        try:
            with self.session.get(self.url, headers=headers, stream=True, timeout=self.timeout) as reply:
                self._receive(reply, start)
        except SSLError as error:
            raise UserError(
                f"{self.url}: the certificate does not hold ({_words(error)}); set REQUESTS_CA_BUNDLE."
            ) from error
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise _BrokenOff(_words(error)) from error
        except requests.RequestException as error:
            raise UserError(f"{self.url}: cannot be asked for ({_words(error)}); check the address.") from error

    def _receive(self, reply: requests.Response, start: int) -> None:
        status = f"status {reply.status_code} {reply.reason}"
        if reply.status_code in BUSY:
            raise _BrokenOff(status, _retry_after(reply))
        if reply.status_code == 416:
            self.file.truncate(0)
            raise _BrokenOff(f"{status}: the file there ends before byte {start:,}")
        if reply.status_code not in (200, 206):
            raise UserError(
                f"{self.url}: {status}. Check the address and the right to read it (a name and password are taken from "
                "~/.netrc, a proxy from https_proxy)."
            )
        if reply.status_code == 200:
            self.file.truncate(0)  # all of it, though a part was asked for: no ranges there, or another version
        elif not reply.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            self.file.truncate(0)
            raise _BrokenOff(f"{status} with another range than bytes {start}-")
        self.version = _version(reply)
        self.file.seek(0, os.SEEK_END)
        # what has come: a read of a fixed size would lose what came before a break
        while chunk := reply.raw.read1(1 << 20):
            self.file.write(chunk)
        found = self.file.tell()
        if self.size is not None and found != self.size:
            if found > self.size:
                self.file.truncate(0)
            raise _BrokenOff(f"{found:,} bytes sent, {self.size:,} expected")


def _version(reply: requests.Response) -> str | None:
    """A strong ETag, or the date of the last change: a weak ETag does not say that bytes are equal."""
    tag = reply.headers.get("ETag", "")
    return tag if tag.startswith('"') else reply.headers.get("Last-Modified")


def _retry_after(reply: requests.Response) -> float | None:
    try:
        seconds = Retry().get_retry_after(reply.raw)
    except InvalidHeader:
        return None
    return None if seconds is None else float(seconds)


def _words(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it in several layers."""
    while True:
        parts = (getattr(error, "reason", None), *error.args)
        inner = next((part for part in parts if isinstance(part, BaseException)), None)
        if inner is None:
            return f"{type(error).__name__}: {error}"
        error = inner
