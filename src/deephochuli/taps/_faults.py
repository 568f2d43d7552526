"""What goes wrong in an instrument stays in the instrument."""

from __future__ import annotations

import threading

from deephochuli.errors import describe, say


class Faults:
    """Remembers what has failed, says each cause once, and never raises an `Exception`.

    When memory runs out, a hundred places fail for one reason: the first one is named.
    """

    def __init__(self) -> None:
        """Start with nothing failed."""
        self._failed: set[object] = set()
        self._causes: set[str] = set()
        self._lock = threading.RLock()  # a signal may come in while it is held

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
            cause = describe(error)
            if cause in self._causes:
                return
            self._causes.add(cause)
        say(
            f"Looking at {what} failed and is switched off; training goes on unchanged. Whatever "
            f"else fails for the same reason is switched off without a word. Cause: {cause}"
        )
