"""Memory of a walk that is handed out again.

Each step of a walk makes several arrays as large as all its rows. Fresh ones would have to be
fetched from the system page by page, which takes longer than what is done with them.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
BLOCK = 1 << 19
"""Numbers of a block: arrays of this size stay in the cache from one step to the next."""
_LINE = 64
"""Bytes of a line of the cache."""
_LEAST = 1 << 12
"""Arrays of fewer numbers are made afresh: that takes no time."""
_MOST_KEPT = 8
"""So many blocks, 32 MiB, are kept between two walks; all of their pages were touched before."""
DESK = 2, 2, 1, 1
"""Blocks that lie together on a desk."""


class Memory:
    """Blocks of numbers that return here when the last array on them is gone."""

    def __init__(self) -> None:
        """Begin with none."""
        self._free: dict[int, list[Rows]] = {}

    def rows(self, n: int, width: int) -> Rows:
        """An array whose numbers are whatever was there."""
        size = n * width
        if size < _LEAST:
            return np.empty((n, width))
        # One size for nearly all: pages of it that nobody touches cost nothing.
        whole = max(BLOCK, 1 << (size - 1).bit_length())
        free = self._free.setdefault(whole, [])
        lent = _Lent(free, free.pop() if free else aligned(whole))
        return np.asarray(lent)[:size].reshape(n, width)

    def trim(self) -> None:
        """Give back what is free beyond a few blocks of the usual size."""
        kept = self._free.get(BLOCK, [])
        del kept[_MOST_KEPT:]
        self._free = {BLOCK: kept}


class _Lent:
    """A block that is in use as long as an array refers to it."""

    __slots__ = ("__array_interface__", "_block", "_free")

    def __init__(self, free: list[Rows], block: Rows) -> None:
        self._free, self._block = free, block
        self.__array_interface__: dict[str, Any] = block.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._block)


def aligned(size: int) -> Rows:
    """An array that begins with a line of the cache: no vector of it lies on two of them."""
    block = np.empty(size + _LINE // 8)
    begin = -block.ctypes.data % _LINE // 8
    return block[begin : begin + size]


class _Here(threading.local):
    """The memory of each thread, and whether a walk is using it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.is_used = False
        self.desk: tuple[Rows, ...] = ()


_here = _Here()


def desk() -> tuple[Rows, ...]:
    """Blocks on which a compiled call may write, and of which nothing is kept after it.

    They are the same ones for all calls in a thread: to lend and to return them would take as long
    as the count of a short segment.
    """
    if not _here.desk:
        _here.desk = tuple(aligned(n * BLOCK) for n in DESK)
    return _here.desk


class recycling:
    """Let `fresh` hand out memory again, in this thread, until the end of the block."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before, _here.is_used = _here.is_used, True

    def __exit__(self, *_: object) -> None:
        _here.is_used = self._before
        if not self._before:
            _here.memory.trim()


def fresh(n: int, width: int) -> Rows:
    """An array of n rows to be filled; its numbers are whatever was there."""
    return _here.memory.rows(n, width) if _here.is_used else np.empty((n, width))
