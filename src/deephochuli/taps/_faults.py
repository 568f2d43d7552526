"""What goes wrong in an instrument stays in the instrument."""

from __future__ import annotations

import sys
import threading
import warnings

from deephochuli.errors import DeepHochuliWarning


class Faults:
    """Remembers what has failed, says each failure once, and never raises an `Exception`."""

    def __init__(self) -> None:
        """Start with nothing failed."""
        self._failed: set[object] = set()
        self._lock = threading.Lock()

    def __contains__(self, what: object) -> bool:
        """Say whether this place or event has failed and is switched off."""
        return what in self._failed

    def __len__(self) -> int:
        """Count the places and events that are switched off."""
        return len(self._failed)

    def report(self, what: object, error: Exception) -> None:
        """Switch a place or an event off and say so, the first time only."""
        with self._lock:
            if what in self._failed:
                return
            self._failed.add(what)
        say(
            f"Looking at {what} failed and is switched off; training goes on unchanged. "
            f"Cause: {type(error).__name__}: {error}"
        )


def say(message: str) -> None:
    """Warn, even where warnings are turned into errors: then on standard error instead."""
    try:
        warnings.warn(message, DeepHochuliWarning, stacklevel=2)
    except Exception:  # a filter "error" must not stop the training that is looked at
        print(f"DeepHochuliWarning: {message}", file=sys.stderr)
