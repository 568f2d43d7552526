"""One line at the bottom of a terminal that says how a recording goes, and is gone at the end.

It is drawn on standard error, at most once a second, and only while the script's own output has
ended its last line: a progress bar of the script is never written into. Before the script writes
anything the line is wiped.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

SECONDS: Final = 1.0
_WIPE: Final = "\r\x1b[2K"


class StatusLine:
    """The line; it does nothing unless standard error is a terminal that can wipe lines."""

    def __init__(self, text: Callable[[], str]) -> None:
        """Show what `text` returns."""
        self._text = text
        self._lock = threading.RLock()
        self._next = time.monotonic()
        self._is_shown = False
        self._is_at_margin = True
        self._writers: list[tuple[TextIO, Callable[[str], int]]] = []
        self._error = sys.stderr
        self._pid = os.getpid()
        self._is_on = is_terminal(sys.stderr) and os.environ.get("TERM", "dumb") != "dumb"
        if self._is_on:
            for stream in {id(s): s for s in (sys.stdout, sys.stderr) if is_terminal(s)}.values():
                self._watch(stream)

    def tick(self) -> None:
        """Draw the line anew if it is time."""
        if not self._is_on or time.monotonic() < self._next or not self._is_at_margin:
            return
        with self._lock:
            self._next = time.monotonic() + SECONDS
            width = shutil.get_terminal_size().columns - 1
            self._raw(f"{_WIPE}\x1b[2m{self._text()[:width]}\x1b[0m\r")
            self._is_shown = True

    def wipe(self) -> None:
        """Take the line away until the next tick."""
        with self._lock:
            if self._is_shown:
                self._is_shown = False
                self._raw(_WIPE)

    def close(self) -> None:
        """Take the line away for good and let the streams write for themselves."""
        with self._lock:
            if os.getpid() == self._pid:
                self.wipe()
            self._is_on = self._is_shown = False
            for stream, _ in self._writers:
                vars(stream).pop("write", None)
            self._writers.clear()

    def _watch(self, stream: TextIO) -> None:
        """Have the line wiped before a stream writes.

        The stream stays the object that it is, with one attribute more: scripts and libraries
        look at its type, its encoding and its buffer.
        """
        original = stream.write

        def write(text: str) -> int:
            if self._is_shown and os.getpid() == self._pid:
                self.wipe()
            n = original(text)
            if text:
                self._is_at_margin = text.endswith("\n")
            return n

        stream.write = write
        self._writers.append((stream, original))

    def _raw(self, text: str) -> None:
        """Write past the watch."""
        original: Any = next((w for s, w in self._writers if s is self._error), None)
        if original is not None:
            original(text)
            self._error.flush()


def is_terminal(stream: Any) -> bool:
    """Whether a stream is there, open and a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
