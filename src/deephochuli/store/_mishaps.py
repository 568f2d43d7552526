"""What a recording has lost, by kind, and which faults of a disk do not pass."""

from __future__ import annotations

import errno

from deephochuli.errors import StoreError

# What trying again a minute later does not change.
_LASTING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "ENOENT", "ENOTDIR", "ENODEV", "ENXIO")
    if hasattr(errno, name)
)


def is_lasting(error: Exception) -> bool:
    """Whether writing will fail again: the disk is full or gone, or the cap is reached."""
    if isinstance(error, StoreError):
        return True
    return isinstance(error, OSError) and error.errno in _LASTING


class Mishaps:
    """Counts losses by kind, and keeps the first of each."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def __contains__(self, kind: object) -> bool:
        return kind in self._first

    def __len__(self) -> int:
        return len(self._first)

    def add(self, kind: str, text: str) -> bool:
        """Note a loss; says whether it is the first of its kind."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._first.setdefault(kind, text) is text

    def texts(self) -> list[str]:
        """One sentence for each kind, the first loss, and how many there were."""
        return [
            text if self._counts[kind] == 1 else f"{text} ({self._counts[kind]} times)"
            for kind, text in self._first.items()
        ]
