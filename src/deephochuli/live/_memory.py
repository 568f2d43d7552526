"""Memory that was needed for a moment only."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable


def _find_trim() -> Callable[[int], int] | None:
    """What glibc has for it; other C libraries keep less, and have none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


_trim = _find_trim()


def give_back() -> None:
    """Let the system have what is free; glibc would keep tens of megabytes beside a training."""
    if _trim is not None:
        _trim(0)
