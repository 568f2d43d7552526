"""Lists of many rows in two flat arrays, and a table made of such columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._schema import NUMPY_TYPES, TAP_COLUMNS, ElementType

Array = NDArray[Any]

LIST_TYPES: dict[str, ElementType] = {c.name: NUMPY_TYPES[c.kind] for c in TAP_COLUMNS if c.is_list}


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Lists of different lengths: row i is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: Elements of all rows, one after the other.
        offsets: int64, one more than there are rows; starts at 0, never falls.
        present: False where a row has no list (which is not the same as an empty one).
    """

    values: Array
    offsets: NDArray[np.int64]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, lists: Sequence[Array | None], dtype: ElementType) -> Ragged:
        """Join arrays, or None where there is no list, into one column (copies)."""
        given = [array for array in lists if array is not None]
        lengths = np.zeros(len(lists), np.int64)
        present = np.ones(len(lists), np.bool_)
        if len(given) < len(lists):
            present[:] = [array is not None for array in lists]
        lengths[present] = list(map(len, given))
        # An int64 that is too large for the column raises here; it is never cut short.
        values = np.concatenate([np.empty(0, dtype), *given], dtype=dtype, casting="same_kind")
        return cls(values, offsets_of(lengths), present)

    @classmethod
    def joined(cls, parts: Sequence[Ragged], dtype: ElementType) -> Ragged:
        """Append columns to one another."""
        if len(parts) == 1:
            return parts[0]
        lengths = [part.lengths for part in parts]
        return cls(
            np.concatenate([np.empty(0, dtype), *(part.values for part in parts)]),
            offsets_of(np.concatenate([np.empty(0, np.int64), *lengths])),
            np.concatenate([np.empty(0, np.bool_), *(part.present for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.present)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row; 0 where there is no list."""
        return self.offsets[1:] - self.offsets[:-1]  # for few rows in half the time of np.diff

    def __getitem__(self, row: int) -> Array | None:
        if not self.present[row]:
            return None
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def rows(self) -> list[Array | None]:
        """All rows, as views."""
        return [self[row] for row in range(len(self))]

    def slice(self, start: int, stop: int) -> Ragged:
        """Rows start to stop, as views."""
        offsets = self.offsets[start : stop + 1]
        values = self.values[offsets[0] : offsets[-1]]
        return Ragged(values, offsets - offsets[0], self.present[start:stop])

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Rows in any order (copies)."""
        lengths = self.lengths[rows]
        filled = rows[lengths > 0]
        starts, stops = self.offsets[:-1][filled], self.offsets[1:][filled]
        # Joining slices costs a tenth of gathering element by element; neighbours are one slice.
        is_apart = starts[1:] != stops[:-1]
        firsts: list[int] = starts[np.append(True, is_apart)[: len(starts)]].tolist()
        lasts: list[int] = stops[np.append(is_apart, True)[: len(stops)]].tolist()
        parts = [self.values[i:j] for i, j in zip(firsts, lasts, strict=True)]
        values = np.concatenate([self.values[:0], *parts])
        return Ragged(values, offsets_of(lengths), self.present[rows])

    def without(self, rows: NDArray[np.bool_]) -> Ragged:
        """The same rows, those that are chosen without a list (copies)."""
        values = self.values[np.repeat(~rows, self.lengths)]
        return Ragged(values, offsets_of(np.where(rows, 0, self.lengths)), self.present & ~rows)

    def totals(self, weights: Array | None = None) -> NDArray[np.int64]:
        """Sum of each row of int64 values, or of other weights on the same elements: exact."""
        sums = np.zeros(len(self), np.int64)
        filled = self.lengths > 0
        if filled.any():
            values = self.values if weights is None else weights
            sums[filled] = np.add.reduceat(values, self.offsets[:-1][filled])
        return sums


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows of these lengths begin, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of taps as columns. -1 or nan stands where an integer or a float has no value.

    Attributes:
        tap: Index of the tap of each row in a list that the owner of the frame keeps.
        numbers: Columns of numbers by name, and ``dtype`` as an index in a list of names.
        lists: Columns of lists by name.
    """

    tap: NDArray[np.int64]
    numbers: dict[str, Array]
    lists: dict[str, Ragged] = field(default_factory=dict[str, Ragged])

    def __len__(self) -> int:
        return len(self.tap)

    @property
    def n_bytes(self) -> int:
        """Bytes in the values of all columns."""
        lists = sum(column.values.nbytes for column in self.lists.values())
        return lists + sum(column.nbytes for column in self.numbers.values())

    def slice(self, start: int, stop: int) -> Frame:
        """Rows start to stop, as views."""
        return Frame(
            self.tap[start:stop],
            {name: column[start:stop] for name, column in self.numbers.items()},
            {name: column.slice(start, stop) for name, column in self.lists.items()},
        )

    def take(self, rows: NDArray[np.int64]) -> Frame:
        """Rows in any order (copies)."""
        return Frame(
            self.tap[rows],
            {name: column[rows] for name, column in self.numbers.items()},
            {name: column.take(rows) for name, column in self.lists.items()},
        )

    def where(self, chosen: NDArray[np.bool_]) -> Frame:
        """Rows that are chosen, in their order: itself if that is all of them."""
        return self if chosen.all() else self.take(np.flatnonzero(chosen))


def join_frames(frames: Sequence[Frame]) -> Frame:
    """Append frames with the same columns to one another."""
    first = frames[0]
    if len(frames) == 1:
        return first
    return Frame(
        np.concatenate([frame.tap for frame in frames]),
        {name: np.concatenate([f.numbers[name] for f in frames]) for name in first.numbers},
        {
            name: Ragged.joined([f.lists[name] for f in frames], LIST_TYPES[name])
            for name in first.lists
        },
    )
