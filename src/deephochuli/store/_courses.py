"""How the numbers of all taps went over a run, at a resolution that does not grow with it."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._folds import ChunkRows
from deephochuli.store._ragged import Array

MOST_CELLS: Final = 1 << 19
MOST_STRETCHES: Final = 2048
FEWEST_STRETCHES: Final = 128
"""Bounds on the stretches of a run: on all taps together, and on each."""

_SUMMED: Final = ("n_finite", "n_channels", "n_silent_channels", "n_updatable", "n_unmoved")
_ADDED: Final = "sum_sq"
_LARGEST: Final = "max_abs"
_NAMES: Final = (*_SUMMED, _ADDED, _LARGEST)
_OF_FINITE: Final = ("n", "n_inf", "n_nan")

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

    Numerics:
        Counts are summed in int64 and exact; -1 where none was measured. ``n_finite`` counts what
        is neither infinite nor nan. Sums of squares are floating-point sums in the order of the
        steps. The largest magnitude leaves out nan.
    """

    table: ClassVar[str] = "taps"
    columns: ClassVar[tuple[str, ...]] = ("step", *_OF_FINITE, *_NAMES[1:])

    def __init__(self, n_taps: int) -> None:
        """Nothing yet."""
        self._most = _most_stretches(n_taps)
        self._shift = 0  # a stretch has 2**shift steps
        self._n_steps = 0
        self._measures = {name: _Measure(name, self._most, n_taps) for name in _NAMES}
        self.first = self.last = np.empty(0, np.int64)

    def add(self, rows: ChunkRows) -> None:
        """Add rows, of steps after those that were added, or of the same."""
        stretch = self._place(rows.columns["step"])
        n, n_inf, n_nan = (rows.columns[name] for name in _OF_FINITE)
        columns = {**rows.columns, "n_finite": n - n_inf - n_nan}
        for name, measure in self._measures.items():
            measure.add(stretch, rows.tap, columns[name])

    def _place(self, steps: Ints) -> Ints:
        """The stretch of each step, after making room for those that are new."""
        found = np.unique(steps)
        new = found[np.searchsorted(found, self.last[-1], "right") :] if len(self.last) else found
        while self._n_steps + len(new) > self._most << self._shift:
            self._halve()
        number = (self._n_steps + np.arange(len(new))) >> self._shift
        self._n_steps += len(new)
        is_begin = np.diff(number, prepend=len(self.first) - 1) > 0
        self.first = np.append(self.first, new[is_begin])
        self.last = np.append(self.last, new[is_begin])
        np.maximum.at(self.last, number, new)
        return np.searchsorted(self.first, steps, "right") - 1

    def _halve(self) -> None:
        """Make one stretch of two."""
        starts = np.arange(0, len(self.first), 2)
        for measure in self._measures.values():
            measure.merge(starts, len(self.first))
        self.last = self.last[np.minimum(starts + 1, len(self.last) - 1)]
        self.first = self.first[starts]
        self._shift += 1

    def over(self, starts: Ints) -> Columns:
        """Numbers by name, merged over groups of stretches.

        Args:
            starts: First stretch of each group, increasing, from 0.

        Returns:
            Arrays [groups, taps]; -1 or nan where nothing was measured.
        """
        n = len(self.first)
        return {name: measure.over(starts, n) for name, measure in self._measures.items()}

    def largest_of(self, tap: int) -> NDArray[np.float64]:
        """Largest magnitude of a tap in each stretch; nan where there is none."""
        return self._measures[_LARGEST].of(tap, len(self.first))


class _Measure:
    """One number of each tap in each stretch.

    Room for all stretches is asked for at once; the system gives memory where it is written to.
    Zeros stand where nothing was measured, and flags say so.
    """

    def __init__(self, name: str, most: int, n_taps: int) -> None:
        self._join: np.ufunc = np.fmax if name == _LARGEST else np.add
        self._blank = -1 if name in _SUMMED else np.nan
        self._values = np.zeros((most, n_taps), np.int64 if name in _SUMMED else np.float64)
        self._is_known = np.zeros((most, n_taps), np.bool_)

    def add(self, stretch: Ints, tap: Ints, column: Array) -> None:
        """Add a value of each row; below zero and nan are none."""
        known = column >= 0
        place = (stretch * self._values.shape[1] + tap)[known]
        values = column[known].astype(self._values.dtype)
        self._join.at(self._values.reshape(-1), place, values)
        self._is_known.reshape(-1)[place] = True

    def over(self, starts: Ints, n: int) -> Array:
        """Values merged from each start to the next, of the first `n` stretches."""
        values, is_known = self._merged(starts, n)
        return np.where(is_known, values, self._blank)

    def merge(self, starts: Ints, n: int) -> None:
        """The same, in place of what there is."""
        values, is_known = self._merged(starts, n)
        self._values, self._is_known = np.zeros_like(self._values), np.zeros_like(self._is_known)
        self._values[: len(starts)], self._is_known[: len(starts)] = values, is_known

    def of(self, tap: int, n: int) -> Array:
        """Values of a tap in the first `n` stretches."""
        return np.where(self._is_known[:n, tap], self._values[:n, tap], self._blank)

    def _merged(self, starts: Ints, n: int) -> tuple[Array, NDArray[np.bool_]]:
        if not len(starts):
            return self._values[:0], self._is_known[:0]
        is_known = np.logical_or.reduceat(self._is_known[:n], starts)
        return self._join.reduceat(self._values[:n], starts), is_known


def _most_stretches(n_taps: int) -> int:
    """A power of two, so that full stretches merge into full ones."""
    most = FEWEST_STRETCHES
    while most < MOST_STRETCHES and 2 * most * n_taps <= MOST_CELLS:
        most *= 2
    return most
