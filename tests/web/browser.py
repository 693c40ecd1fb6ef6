"""A headless Chromium that a test drives by its debugging pipe: real clicks, real reloads, what the console said."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

__all__ = ["CHROMIUM", "SWITCHES", "Browser", "needs_chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium not installed: apt-get install chromium")

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
_PATIENCE = 30.0  # seconds


class Browser:
    """One page of one browser.

    Args:
        profile: a folder for the browser's own files.

    Attributes:
        said: warnings and errors of the console and exceptions of scripts, since the page was opened.
        fetched: addresses that the page asked for, data: URIs aside.
    """

    def __init__(self, profile: Path) -> None:
        (into, self._out), (self._in, out) = os.pipe(), os.pipe()
        # the browser reads its commands from descriptor 3 and answers on 4
        switches = " ".join([*SWITCHES, "--remote-debugging-pipe"])
        command = f'exec {CHROMIUM} {switches} --user-data-dir="$0" about:blank 3<&{into} 4>&{out}'
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(["bash", "-c", command, str(profile)], pass_fds=(into, out), **quiet)
        os.close(into)
        os.close(out)
        os.set_blocking(self._in, False)
        self._number, self._read, self._session = 0, b"", ""
        self.said: list[str] = []
        self.fetched: list[str] = []
        pages = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in pages if target["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def open(self, page: Path, width: int = 1400, height: int = 1000, dark: bool = False, phone: bool = False) -> None:
        """Open a file at a size in CSS pixels and wait until it is loaded."""
        self.said.clear()
        self.fetched.clear()
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **shape)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")
        self.until(lambda: self.run("location.href") == "about:blank")
        self.send("Page.navigate", url=page.as_uri())
        self.until(lambda: self.run("location.protocol == 'file:' && document.readyState") == "complete")

    def run(self, script: str) -> Any:
        """Return the value of an expression of JavaScript."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", found["exceptionDetails"]))
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of the first element that matches."""
        place = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center', inline: 'center'}}); const b = e.getBoundingClientRect();"
            f" return [b.left + b.width / 2, b.top + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def select(self, selector: str, value: str) -> None:
        """Choose an option as a reader would."""
        self.run(
            f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def picture(self, path: Path, whole: bool = True) -> Path:
        """Save what is shown as a PNG; of the whole page, or of the window."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def until(self, true: Callable[[], Any], patience: float = _PATIENCE) -> Any:
        """Ask until the answer is true; fail when patience is out."""
        end = time.monotonic() + patience
        while not (answer := true()):
            assert time.monotonic() < end, "the browser did not come to it"
            time.sleep(0.02)
        return answer

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            for answer in self._messages():
                self._note(answer)
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']}")
                    return answer["result"]
            time.sleep(0.005)
        raise TimeoutError(f"{method}: no answer in {_PATIENCE:g} s")

    def _messages(self) -> list[dict[str, Any]]:
        try:
            self._read += os.read(self._in, 1 << 24)
        except BlockingIOError:
            return []
        *whole, self._read = self._read.split(b"\0")
        return [json.loads(text) for text in whole]

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.said.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.said.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.said.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.fetched.append(told["request"]["url"])
