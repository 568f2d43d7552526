"""Headless Chromium, driven over a pipe: no port, no network, no driver package."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files=false",
    "--remote-debugging-pipe",
)
PATIENCE_S = 60.0


class Browser:
    """A running Chromium; use it in a ``with`` statement."""

    def __init__(self, program: str, profile: Path) -> None:
        self._program = program
        self._profile = profile

    def __enter__(self) -> Self:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        redirect = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, self._program, *FLAGS, f"--user-data-dir={self._profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._targets: list[str] = []
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (OSError, AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._events.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """Events of one page until now."""
        return [event for event in self._events if event.get("sessionId") == session]

    def _receive(self, until: float) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium did not answer in time"
            part = os.read(self._from, 1 << 16)
            assert part, "Chromium ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: Path | str, *, hash: str = "", **view: Any) -> Page:
        """Open a report from disk, or an address."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._targets.append(target)
        return Page(self, attached["sessionId"], page, hash, **view)

    def close_pages(self) -> None:
        """Close every page that was opened."""
        for target in self._targets:
            self.send("Target.closeTarget", targetId=target)
        self._targets.clear()
        self._events.clear()


class Page:
    """One page, opened and ready."""

    def __init__(
        self,
        browser: Browser,
        session: str,
        file: Path | str,
        hash: str,
        *,
        width: int = 1440,
        height: int = 1200,
        theme: str = "light",
        ready: str = "[data-ready=yes]",
    ) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        address = file if isinstance(file, str) else file.resolve().as_uri()
        self.send("Page.navigate", url=address + hash)
        self.wait_for(f"document.querySelector({json.dumps(ready)}) !== null")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        return self._browser.send(method, self._session, **parameters)

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        until = time.monotonic() + PATIENCE_S
        while not self.run(condition):
            assert time.monotonic() < until, f"never came true: {condition}"
            time.sleep(0.03)

    def settle(self) -> None:
        """Let the page draw what changed."""
        self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")
        self.wait_for("document.documentElement.dataset.drawn !== 'no'")

    def to_front(self) -> None:
        """Show this page again after another one was opened: hidden pages do not draw."""
        self.send("Page.bringToFront")

    def text(self, selector: str = "body") -> str:
        """Visible text of an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str) -> None:
        """Click an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a drop-down."""
        self.run(
            f"(select => {{ select.value = {json.dumps(value)};"
            " select.dispatchEvent(new Event('change')); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.settle()

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)
        self.settle()

    def complaints(self) -> list[str]:
        """What the console, the log and uncaught errors say."""
        found: list[str] = []
        for event in self._browser.events(self._session):
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(str(parameters["args"]))
            elif event["method"] == "Log.entryAdded":
                found.append(str(parameters["entry"]))
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for, besides itself and data inside it."""
        return [
            event["params"]["request"]["url"][:200]
            for event in self._browser.events(self._session)
            if event["method"] == "Network.requestWillBeSent"
            and event["params"].get("type") != "Document"
            and not event["params"]["request"]["url"].startswith(("data:", "blob:"))
        ]

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """Take a picture of the page."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))
