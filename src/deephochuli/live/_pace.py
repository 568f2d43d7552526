"""Work that must not take more than a small share of the time, however long it takes each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

SHARE: Final = 0.1


class Pace:
    """Says when a piece of work may be done again, after measuring how long it took.

    Args:
        share: Largest share of the time that the work may take.
        clock: Seconds; only differences count.

    Example:
        >>> seconds = iter([0.0, 2.0, 10.0, 20.0])
        >>> pace = Pace(0.1, lambda: next(seconds))
        >>> with pace.measured():  # from 0 to 2
        ...     pass
        >>> pace.is_due(), pace.is_due()  # at 10, at 20
        (False, True)
    """

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._next: float | None = None

    def is_due(self) -> bool:
        """Whether the work may be done now."""
        return self._next is None or self._clock() >= self._next

    @contextmanager
    def measured(self) -> Generator[None]:
        """Measure the work in a ``with`` block, and set when it may be done again."""
        began = self._clock()
        try:
            yield
        finally:
            self._next = began + (self._clock() - began) / self._share
