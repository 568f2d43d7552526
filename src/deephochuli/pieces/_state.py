"""What is known at the rows of a walk: where they are, and every value that is still needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._exactness import is_exact_between
from deephochuli.pieces._norms import U

Column = NDArray[np.float64]


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

    def entry_error(self) -> NDArray[np.float64]:
        """Bound on the error of each entry: shape (rows, numel), or (rows, 1)."""
        if self.entries is None:
            return self.error[:, None]
        it = self.entries
        bound = it.row[:, None] * it.unit[None, :] + it.floor[None, :]
        exact = self.error == 0
        if exact.any():
            bound = np.where(exact[:, None], 0.0, bound)
        return bound

    def entry_scale(self) -> NDArray[np.float64]:
        """How large the numbers are from which each entry was summed."""
        if self.entries is None:
            return norm(self.rows)[:, None]
        it = self.entries
        return it.reach[:, None] * it.unit[None, :] + it.offset[None, :]

    def inserted(self, places: Insertion) -> Value:
        """With rows between the old ones.

        Numerics:
            a + lam * (b - a) errs by at most 4 u (|a| + |b|), beside the larger error of both ends.
            The row is at `lam` by definition, so that a rounding in `lam` is no error of the row.
            A new row is exact when both ends are, and no operation rounds.
        """
        a, b = self.rows[places.cell], self.rows[places.cell + 1]
        new = a + places.lam[:, None] * (b - a)
        error = np.maximum(self.error[places.cell], self.error[places.cell + 1])
        exact = error == 0
        if exact.any():
            exact[exact] = is_exact_between(a[exact], b[exact], places.lam[exact])
        error = np.where(exact, 0.0, error + 4 * U * (norm(a) + norm(b)))
        jump = jump_error = None
        if self.jump is not None and self.jump_error is not None:
            jump = places.spread(self.jump, np.zeros((len(new), self.jump.shape[1])))
            jump_error = places.spread(self.jump_error, np.zeros(len(new)))
        return Value(
            places.spread(self.rows, new),
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

    def spread(
        self, old: NDArray[np.generic], new: NDArray[np.generic]
    ) -> NDArray[np.generic] | NDArray[np.float64]:
        """Old rows and new rows in one array."""
        both = np.empty((len(old) + len(new), *old.shape[1:]), old.dtype)
        is_old = np.ones(len(both), dtype=bool)
        is_old[self.new] = False
        both[is_old] = old
        both[self.new] = new
        return both


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
