"""Rows put in where units change their side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _loops as loops
from deephochuli.pieces._crossings import Crossings
from deephochuli.pieces._state import Insertion, State, Value

_SHORTEST = 2.0**-30
"""Cells shorter than this are not parted to save memory."""


def inserted(
    state: State, found: Crossings, step: int, most_rows: int
) -> tuple[State, NDArray[np.int64]] | None:
    """A state with a row at each crossing, and the row of each crossing.

    Crossings that cannot be told apart share a row; one that falls on a row that is there takes
    that one.

    Returns:
        None where there would be more than `most_rows` rows, and cells can still be parted.
    """
    first, t, row, longest = loops.placed(state.t, found.cell, found.lam, found.tolerance)
    if is_too_many(state, len(first), longest, most_rows):
        return None
    places = Insertion(found.cell[first], found.lam[first])
    return grown(state, places, t, found.unit[first], step), row


def is_too_many(state: State, n: int, longest: float, most_rows: int) -> bool:
    """Whether n more rows are too many, and there is a cell that can be parted."""
    return len(state) + n > most_rows and longest > _SHORTEST


def halved(state: State) -> State:
    """A state with a row in the middle of each cell, where nothing bends."""
    n = len(state) - 1
    middle = Insertion(np.arange(n), np.full(n, 0.5))
    t = 0.5 * (state.t[1:] + state.t[:-1])
    return grown(state, middle, t, np.full(n, -1), -1)


def grown(
    state: State,
    places: Insertion,
    t: NDArray[np.float64],
    unit: NDArray[np.int64],
    step: int,
) -> State:
    """A state with rows at some places, of these units."""
    if not len(places.cell):
        return state
    return State(
        places.spread(state.t, t),
        places.spread(state.is_own, state.is_own[places.cell]),
        places.spread(state.step, np.full(len(t), step, np.int32)),
        places.spread(state.unit, unit.astype(np.int32)),
        {k: v.inserted(places) for k, v in state.values.items()},
    )


def put(
    value: Value,
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
    target: NDArray[np.float64],
    *,
    in_place: bool = False,
) -> Value:
    """A value with some entries set; by how much they moved is added to the error.

    `in_place` says that nobody else has these rows.
    """
    if not len(row):
        return value
    rows = value.rows if in_place else value.rows.copy()
    moved = np.bincount(row, (rows[row, unit] - target) ** 2, minlength=len(rows))
    rows[row, unit] = target
    return replace(value, rows=rows, error=value.error + np.sqrt(moved))
