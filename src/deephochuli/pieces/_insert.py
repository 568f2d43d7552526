"""Rows put in where units change their side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

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
    begin, end = state.t[found.cell], state.t[found.cell + 1]
    length = end - begin
    t = np.where(found.lam <= 0.5, begin + found.lam * length, end - (1 - found.lam) * length)
    is_new = (t > begin) & (t < end)
    is_first = is_new.copy()
    is_first[1:] &= _differs(found, t) | ~is_new[:-1]
    places = Insertion(found.cell[is_first], found.lam[is_first])
    if len(state) + len(places.cell) > most_rows and length.max(initial=0.0) > _SHORTEST:
        return None
    shift = np.searchsorted(places.cell, np.arange(len(state)))  # rows put in before an old one
    old_row = found.cell + (t >= end)
    row = np.where(
        is_new,
        places.new[np.maximum(np.cumsum(is_first) - 1, 0)] if len(places.cell) else 0,
        old_row + shift[old_row],
    )
    return _grown(state, places, t[is_first], found.unit[is_first], step), row


def halved(state: State) -> State:
    """A state with a row in the middle of each cell, where nothing bends."""
    n = len(state) - 1
    middle = Insertion(np.arange(n), np.full(n, 0.5))
    t = 0.5 * (state.t[1:] + state.t[:-1])
    return _grown(state, middle, t, np.full(n, -1), -1)


def _differs(found: Crossings, t: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a crossing can be told from the one before it."""
    apart = np.diff(found.lam) > found.tolerance[1:] + found.tolerance[:-1]
    return (np.diff(found.cell) > 0) | (apart & (np.diff(t) > 0))


def _grown(
    state: State,
    places: Insertion,
    t: NDArray[np.float64],
    unit: NDArray[np.int64],
    step: int,
) -> State:
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
) -> Value:
    """A value with some entries set; by how much they moved is added to the error."""
    if not len(row):
        return value
    rows = value.rows.copy()
    moved = np.bincount(row, (rows[row, unit] - target) ** 2, minlength=len(rows))
    rows[row, unit] = target
    return replace(value, rows=rows, error=value.error + np.sqrt(moved))
