"""How the numbers of all taps went over a run, at a resolution that does not grow with it."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._folds import ChunkRows
from deephochuli.store._ragged import Array

MOST_CELLS: Final = 1 << 20
MOST_STRETCHES: Final = 2048
FEWEST_STRETCHES: Final = 128
"""Bounds on the stretches of a run: on all taps together, and on each."""

_SUMMED: Final = (
    *("n", "n_inf", "n_nan", "n_channels", "n_silent_channels"),
    *("n_updatable", "n_unmoved"),
)
_ADDED: Final = "sum_sq"
_LARGEST: Final = "max_abs"
_NAMES: Final = (*_SUMMED, _ADDED, _LARGEST)
_SPARE: Final = 64

Ints = NDArray[np.int64]
Columns = dict[str, Array]


class Courses:
    """Numbers of each tap over stretches of neighbouring recorded steps.

    All stretches have the same number of steps, a power of two, but for the last, which may not be
    full. While there are at most `MOST_STRETCHES`, each is one step; beyond, two become one. With
    many taps there are fewer.

    Attributes:
        first: First step of each stretch.
        last: Last step of each.
        n: Recorded steps in each.

    Numerics:
        Counts are summed in int64 and exact; -1 where none was measured. Sums of squares are
        floating-point sums in the order of the steps. The largest magnitude leaves out nan.
    """

    table: ClassVar[str] = "taps"
    columns: ClassVar[tuple[str, ...]] = ("step", *_NAMES)

    def __init__(self, n_taps: int) -> None:
        """Nothing yet."""
        self._n_taps = n_taps
        self._most = _most_stretches(n_taps)
        self._shift = 0  # a stretch has 2**shift steps
        self.first = self.last = self.n = np.empty(0, np.int64)
        self._room = {name: _blank(name, 0, n_taps) for name in _NAMES}

    def add(self, rows: ChunkRows) -> None:
        """Add a chunk, whose steps come after those that were added."""
        steps, at = np.unique(rows.columns["step"], return_inverse=True)
        n_before = int(self.n.sum())
        while n_before + len(steps) > self._most << self._shift:
            self._halve()
        stretch = (n_before + np.arange(len(steps))) >> self._shift
        self._extend(steps, stretch)
        place = stretch[at] * self._n_taps + rows.tap
        for name in _SUMMED:
            column = rows.columns[name]
            known = column >= 0
            flat, where = self._room[name].reshape(-1), place[known]
            flat[where] = np.maximum(flat[where], 0)
            np.add.at(flat, where, column[known].astype(np.int64))
        np.add.at(self._room[_ADDED].reshape(-1), place, rows.columns[_ADDED])
        np.fmax.at(self._room[_LARGEST].reshape(-1), place, rows.columns[_LARGEST])

    def over(self, starts: Ints) -> Columns:
        """Numbers by name, merged over groups of stretches.

        Args:
            starts: First stretch of each group, increasing, from 0.

        Returns:
            Arrays [groups, taps]; -1 or nan where nothing was measured.
        """
        return {name: _merge(name, self._room[name][: len(self.n)], starts) for name in _NAMES}

    def largest_of(self, tap: int) -> NDArray[np.float64]:
        """Largest magnitude of a tap in each stretch; nan where there is none."""
        return self._room[_LARGEST][: len(self.n), tap]

    def _extend(self, steps: Ints, stretch: Ints) -> None:
        """Make room for steps at the end; the first of them may belong to the last stretch."""
        n_old = len(self.n)
        n_new = int(stretch[-1]) + 1 - n_old if len(stretch) else 0
        if n_old + n_new > len(self._room[_ADDED]):
            self._make_room(n_new + _SPARE)
        begins = np.searchsorted(stretch, np.arange(n_old, n_old + n_new))
        self.first = np.append(self.first, steps[begins])
        self.last = np.append(self.last, steps[begins])
        self.n = np.append(self.n, np.zeros(n_new, np.int64))
        self.last[stretch] = steps
        np.add.at(self.n, stretch, 1)

    def _make_room(self, n: int) -> None:
        """Add stretches in which nothing was measured, column by column to save memory."""
        for name, column in self._room.items():
            self._room[name] = np.concatenate([column, _blank(name, n, self._n_taps)])

    def _halve(self) -> None:
        """Make one stretch of two."""
        starts = np.arange(0, len(self.n), 2)
        for name, column in self._room.items():
            self._room[name] = _merge(name, column[: len(self.n)], starts)
        self.first = self.first[starts]
        self.last = self.last[np.minimum(starts + 1, len(self.last) - 1)]
        self.n = np.add.reduceat(self.n, starts)
        self._shift += 1


def _most_stretches(n_taps: int) -> int:
    """A power of two, so that full stretches merge into full ones."""
    most = FEWEST_STRETCHES
    while most < MOST_STRETCHES and 2 * most * n_taps <= MOST_CELLS:
        most *= 2
    return most


def _blank(name: str, n: int, n_taps: int) -> Array:
    """A column of stretches in which nothing was measured."""
    if name in _SUMMED:
        return np.full((n, n_taps), -1, np.int64)
    return np.zeros((n, n_taps)) if name == _ADDED else np.full((n, n_taps), np.nan)


def _merge(name: str, column: Array, starts: Ints) -> Array:
    """Numbers of neighbouring stretches become one."""
    if not len(starts):
        return column[:0]
    if name in _SUMMED:
        return _add_known(column, starts)
    return (np.add if name == _ADDED else np.fmax).reduceat(column, starts)


def _add_known(counts: Ints, starts: Ints) -> Ints:
    """Sums that leave out -1; -1 where nothing is left."""
    sums = np.add.reduceat(np.maximum(counts, 0), starts)
    return np.where(np.maximum.reduceat(counts, starts) >= 0, sums, -1)
