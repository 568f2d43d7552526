"""What is known at the rows of a walk: where they are, and every value that is still needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _loops as loops
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._exactness import is_exact_between
from deephochuli.pieces._norms import U

Column = NDArray[np.float64]
Index = NDArray[np.int64]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """A bound on the error of each entry, finer than that of the whole row.

    Entry j of row r errs by at most `row[r] * unit[j] + floor[j]`, and is itself at most
    `reach[r] * unit[j] + offset[j]`.
    """

    row: Column
    unit: Column
    floor: Column
    reach: Column
    offset: Column

    def wide(self, n: int) -> tuple[Column, Column, Column, Column, Column]:
        """All columns, with a number for each of n units where there was one for all."""
        columns = self.unit, self.floor, self.offset
        unit, floor, offset = (x if len(x) == n else np.full(n, x[0]) for x in columns)
        return self.row, unit, floor, self.reach, offset

    def part(self, rows: slice) -> Entries:
        """The bound for some of the rows."""
        return replace(self, row=self.row[rows], reach=self.reach[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One tensor at all rows.

    Attributes:
        rows: The numbers, shape (rows, numel).
        error: For each row a bound on the 2-norm of its error; 0 where the row is exact.
        entries: A finer bound, straight behind an affine step.
        has_exact_zeros: Whether a 0.0 means that the true number is zero, as behind a ReLU.
        jump: For each row, how much the slope of each number changes there; None if not asked for.
        jump_error: For each row a bound on the 2-norm of the jump's error.
    """

    rows: Rows
    error: Column
    entries: Entries | None = None
    has_exact_zeros: bool = False
    jump: Rows | None = None
    jump_error: Column | None = None

    def part(self, rows: slice) -> Value:
        """Some of the rows."""
        return Value(
            self.rows[rows],
            self.error[rows],
            None if self.entries is None else self.entries.part(rows),
            self.has_exact_zeros,
            None if self.jump is None else self.jump[rows],
            None if self.jump_error is None else self.jump_error[rows],
        )

    def entry_bound(self) -> Entries:
        """The bound on each entry; that of the whole row where there is no finer one."""
        if self.entries is not None:
            return self.entries
        one, zero = np.ones(1), np.zeros(1)
        return Entries(self.error, one, zero, norm(self.rows), zero)

    def error_at(self, row: Index, unit: Index) -> Column:
        """Bounds on the error of some entries; 0 in exact rows."""
        it = self.entry_bound()
        bound = it.row[row] * _of_unit(it.unit, unit) + _of_unit(it.floor, unit)
        return np.where(self.error[row] == 0, 0.0, bound * (1 + 8 * U))

    def scale_at(self, row: Index, unit: Index) -> Column:
        """How large the numbers are from which some entries were summed."""
        it = self.entry_bound()
        return it.reach[row] * _of_unit(it.unit, unit) + _of_unit(it.offset, unit)

    def inserted(self, places: Insertion) -> Value:
        """With rows between the old ones.

        Numerics:
            a + lam * (b - a) errs by at most 4 u (|a| + |b|), beside the larger error of both ends.
            The row is at `lam` by definition, so that a rounding in `lam` is no error of the row.
            A new row is exact when both ends are, and no operation rounds.
        """
        rows, size = loops.interpolated(np.ascontiguousarray(self.rows), places.cell, places.lam)
        error = np.maximum(self.error[places.cell], self.error[places.cell + 1])
        exact = error == 0
        if exact.any():
            cell = places.cell[exact]
            ends = self.rows[cell], self.rows[cell + 1]
            exact[exact] = is_exact_between(*ends, places.lam[exact])
        error = np.where(exact, 0.0, error + 4 * U * size)
        jump = jump_error = None
        if self.jump is not None and self.jump_error is not None:
            jump = loops.spread_zeros(np.ascontiguousarray(self.jump), places.cell)
            jump_error = places.spread(self.jump_error, np.zeros(len(places.cell)))
        return Value(
            rows,
            places.spread(self.error, error),
            None,
            self.has_exact_zeros,
            jump,
            jump_error,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Insertion:
    """Rows to be inserted, in their order along the segment.

    Attributes:
        cell: The cell that each is in: between the rows of that number and the next one.
        lam: Where in the cell, in (0, 1).
    """

    cell: NDArray[np.int64]
    lam: Column

    @property
    def new(self) -> NDArray[np.int64]:
        """Where the new rows come to lie."""
        return self.cell + 1 + np.arange(len(self.cell))

    def spread(self, old: NDArray[Kind], new: NDArray[Kind]) -> NDArray[Kind]:
        """Numbers of old rows and of new rows in one array."""
        return loops.spread(old, new, self.cell)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All that is known at some rows.

    Attributes:
        t: Place of each row along the segment, in [0, 1].
        is_own: Whether a row belongs to this chunk, and not to a neighbour.
        step: The step whose unit bends at a row; -1 at the ends of the segment.
        unit: That unit.
        values: Values that later steps need, by number.
    """

    t: Column
    is_own: NDArray[np.bool_]
    step: NDArray[np.int32]
    unit: NDArray[np.int32]
    values: dict[int, Value]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.t)

    def part(self, begin: int, end: int) -> State:
        """A chunk: cells from `begin` to `end`, with the cell before them that is not its own."""
        first = max(begin - 1, 0)
        rows = slice(first, end + 1)
        is_own = self.is_own[rows].copy()
        is_own[: begin - first] = False
        if end + 1 < len(self):
            is_own[-1] = False
        values = {k: v.part(rows) for k, v in self.values.items()}
        return State(self.t[rows], is_own, self.step[rows], self.unit[rows], values)


def norm(x: Rows) -> Column:
    """2-norm of each row."""
    return np.sqrt(np.einsum("ij,ij->i", x, x))


def _of_unit(x: Column, unit: Index) -> Column:
    """Numbers of some units, of an array that may hold one for all."""
    return x[unit] if len(x) > 1 else x
