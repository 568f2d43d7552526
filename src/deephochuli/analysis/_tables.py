"""What the recorded steps of each tap add up to: totals, extremes, first times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import FormatError
from deephochuli.formats import Format, format_of_dtype
from deephochuli.store import ChunkRows, Courses, RunReader, TapInfo

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_COUNTS = ("n", "n_zero", "n_subnormal", "n_inf", "n_nan", "n_updatable", "n_unmoved")
_WATCHED = ("n_subnormal", "n_unmoved")
_NEVER = np.iinfo(np.int64).max


class Tally:
    """What the rows of single steps add up to, for each tap.

    Attributes:
        n_rows: In how many recorded steps the tap was seen.
        last_step: The last of them.
        totals: Sums of counts by name, over the steps where they were measured.
        first: First step in which a count was not zero, by name; `_NEVER` if there is none.
        last: Last such step; -1 if there is none.
        born: First step with an infinity or a NaN; -1 if there is none.
        n_inf: Infinities in that step.
        n_nan: NaNs in that step.
        low: Least share of unmoved among updatable elements of a step; 1 without updates.
        high: Greatest such share; 0 without updates.
        largest: Largest finite magnitude; 0 if there is none.
        largest_at: First step that has it.

    Numerics:
        Counts are summed in int64 and exact.
    """

    table: ClassVar[str] = "taps"
    columns: ClassVar[tuple[str, ...]] = ("step", *_COUNTS, "max_abs")

    def __init__(self, n_taps: int) -> None:
        """Nothing yet."""
        self.n_rows = np.zeros(n_taps, np.int64)
        self.last_step = np.zeros(n_taps, np.int64)
        self.totals = {name: np.zeros(n_taps, np.int64) for name in _COUNTS}
        self.first = {name: np.full(n_taps, _NEVER) for name in _WATCHED}
        self.last = {name: np.full(n_taps, -1) for name in _WATCHED}
        self.born = np.full(n_taps, -1)
        self.n_inf, self.n_nan = np.zeros(n_taps, np.int64), np.zeros(n_taps, np.int64)
        self.low, self.high = np.ones(n_taps), np.zeros(n_taps)
        self.largest = np.zeros(n_taps)
        self.largest_at = np.full(n_taps, -1)

    def add(self, rows: ChunkRows) -> None:
        """Add a chunk, whose steps come after those that were added."""
        tap, step = rows.tap, rows.columns["step"]
        columns = {name: rows.columns[name].astype(np.int64) for name in _COUNTS}
        np.add.at(self.n_rows, tap, 1)
        np.maximum.at(self.last_step, tap, step)
        for name, column in columns.items():
            np.add.at(self.totals[name], tap, np.maximum(column, 0))
        for name in _WATCHED:
            hit = columns[name] > 0
            np.minimum.at(self.first[name], tap[hit], step[hit])
            np.maximum.at(self.last[name], tap[hit], step[hit])
        self._add_births(tap, step, columns["n_inf"], columns["n_nan"])
        self._add_shares(tap, columns["n_unmoved"], columns["n_updatable"])
        self._add_magnitudes(tap, step, rows.columns["max_abs"])

    def _add_births(self, tap: Ints, step: Ints, n_inf: Ints, n_nan: Ints) -> None:
        rows = np.flatnonzero((n_inf + n_nan > 0) & (self.born[tap] < 0))
        born, at = np.unique(tap[rows], return_index=True)  # rows of a tap are in order of steps
        rows = rows[at]
        self.born[born], self.n_inf[born], self.n_nan[born] = step[rows], n_inf[rows], n_nan[rows]

    def _add_shares(self, tap: Ints, unmoved: Ints, updatable: Ints) -> None:
        measured = updatable > 0
        shares = unmoved[measured] / updatable[measured]
        np.minimum.at(self.low, tap[measured], shares)
        np.maximum.at(self.high, tap[measured], shares)

    def _add_magnitudes(self, tap: Ints, step: Ints, max_abs: Floats) -> None:
        before = self.largest.copy()
        np.fmax.at(self.largest, tap, max_abs)
        rows = np.flatnonzero((max_abs == self.largest[tap]) & (max_abs > before[tap]))
        grown, at = np.unique(tap[rows], return_index=True)
        self.largest_at[grown] = step[rows[at]]


FOLDS = (Tally, Courses)
"""What findings keep of the rows of single steps."""


@dataclass(frozen=True, slots=True)
class TapSeries:
    """One tap over the recorded steps.

    Attributes:
        info: Which tap.
        index: Its place in the list of taps.
        tally: What the steps of all taps add up to.
        courses: How their numbers went.
    """

    info: TapInfo
    index: int
    tally: Tally
    courses: Courses

    @property
    def format(self) -> Format | None:
        """The format in which the tensor was stored; None when it changed or is unknown."""
        try:
            return format_of_dtype(self.info.dtype)
        except FormatError:
            return None

    @property
    def n_steps(self) -> int:
        """In how many recorded steps it was seen."""
        return int(self.tally.n_rows[self.index])

    @property
    def last_step(self) -> int:
        """The last of them."""
        return int(self.tally.last_step[self.index])

    def total(self, name: str) -> int:
        """Sum of a column of counts over the steps where it was measured."""
        return int(self.tally.totals[name][self.index])

    def span(self, name: str) -> tuple[int, int]:
        """First and last step in which a count was not zero; zeros if it always was."""
        last = int(self.tally.last[name][self.index])
        return (int(self.tally.first[name][self.index]), last) if last >= 0 else (0, 0)


def series_of(
    run: RunReader, accept: Callable[[TapInfo], bool] = lambda _: True
) -> Iterator[TapSeries]:
    """Yield the series of all taps that are accepted, in the order of the run."""
    run.prepare(*FOLDS)
    tally, courses = run.fold(Tally), run.fold(Courses)
    for index, info in enumerate(run.taps()):
        if accept(info):
            yield TapSeries(info, index, tally, courses)


def share(part: int, whole: int) -> float:
    """A part of a whole; 0 of nothing."""
    return part / whole if whole else 0.0
