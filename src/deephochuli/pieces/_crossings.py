"""Where units with knots change their side, and where they may."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._events import Events, joined
from deephochuli.pieces._norms import U
from deephochuli.pieces._state import Column, State, Value

T_ERROR = 16 * U
"""How far the place of a row can be from where interpolation puts it: a few roundings."""
TYPICAL = 32 * U
"""Numbers this small beside what they were summed from are taken for zero in the model."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossings:
    """Units that change sides inside of cells of the model.

    Attributes:
        cell: Cell of each, ascending.
        lam: Where in the cell, in (0, 1); ascending within a cell.
        unit: Which unit.
        target: What its value is set to.
        tolerance: By how much `lam` is unsure, typically.
    """

    cell: NDArray[np.int64]
    lam: Column
    unit: NDArray[np.int64]
    target: Column
    tolerance: Column


def snapped(value: Value, op: Elementwise) -> Value:
    """Numbers that are a rounding away from a knot are put on it.

    Numerics:
        By at most `TYPICAL` times what the number was summed from, and never beyond its bound; what
        was moved is added to the error.
    """
    tolerance = np.minimum(value.entry_error(), TYPICAL * value.entry_scale())
    rows, moved = value.rows, np.zeros(len(value.rows))
    for knot in op.knots:
        r, j = np.nonzero((np.abs(rows - knot) <= tolerance) & (rows != knot))
        if len(r):
            rows = rows.copy() if rows is value.rows else rows
            moved += np.bincount(r, (rows[r, j] - knot) ** 2, minlength=len(rows))
            rows[r, j] = knot
    return replace(value, rows=rows, error=value.error + np.sqrt(moved))


def find(value: Value, op: Elementwise) -> Crossings:
    """Strict changes of side between neighbouring rows of the model."""
    found = [_find(value, float(knot)) for knot in op.knots]
    return ordered(*(np.concatenate(each) for each in zip(*found, strict=True)))


def ordered(
    cell: NDArray[np.int64],
    lam: Column,
    unit: NDArray[np.int64],
    target: NDArray[np.generic],
    tolerance: Column,
) -> Crossings:
    """Crossings in their order along the segment."""
    order = np.lexsort((lam, cell))
    return Crossings(cell[order], lam[order], unit[order], target[order], tolerance[order])


def _find(value: Value, knot: float) -> tuple[NDArray[np.generic], ...]:
    z = value.rows if knot == 0 else value.rows - knot
    is_low, is_high = z < 0, z > 0
    cell, unit = np.nonzero((is_low[:-1] & is_high[1:]) | (is_high[:-1] & is_low[1:]))
    a, b = z[cell, unit], z[cell + 1, unit]
    scale = entry(value.entry_scale(), cell, unit) + entry(value.entry_scale(), cell + 1, unit)
    is_exact = (value.error[cell] == 0) & (value.error[cell + 1] == 0)
    tolerance = np.where(is_exact, 0.0, TYPICAL * scale / np.abs(b - a))
    return cell, a / (a - b), unit, np.full(len(cell), knot), tolerance


def entry(x: NDArray[np.float64], row: NDArray[np.int64], unit: NDArray[np.int64]) -> Column:
    """Entries of an array whose columns may be one for all units."""
    return x[row, 0] if x.shape[1] == 1 else x[row, unit]


def events(state: State, value: Value, op: Elementwise, step: int) -> Events:
    """What is known of the bends of all units of a step, from the rows of the model.

    The true number is within the bound of the model's anywhere in a cell, the larger bound of the
    two ends; so a unit can only change sides where the model is within the bound of the knot.
    """
    error = value.entry_error() * (1 + 8 * U)
    parts: list[Events] = []
    for k, knot in enumerate(op.knots):
        z = value.rows - knot
        number = (step, k, len(op.knots))
        near = (np.abs(z) <= error) & ~((z == 0) & (error == 0))
        parts += [_clear(state, z, error, near, number), _near(state, z, error, near, number)]
    return joined(parts)


def _clear(
    state: State, z: Rows, error: Rows, near: NDArray[np.bool_], number: tuple[int, int, int]
) -> Events:
    """Changes of side between two rows at which the side is known."""
    a, b = z[:-1], z[1:]
    cross = ((a < 0) & (b > 0)) | ((a > 0) & (b < 0))
    cross &= ~(near[:-1] | near[1:]) & state.is_own[:-1, None]
    cell, unit = np.nonzero(cross)
    a, b = z[cell, unit], z[cell + 1, unit]
    bound = np.maximum(entry(error, cell, unit), entry(error, cell + 1, unit))
    lam, half = a / (a - b), bound / np.abs(b - a)
    begin, length = state.t[cell], state.t[cell + 1] - state.t[cell]
    low = begin + np.maximum(lam - half, 0.0) * length - T_ERROR
    high = begin + np.minimum(lam + half, 1.0) * length + T_ERROR
    return _made(low, high, unit, np.sign(a), np.sign(b), number)


def _near(
    state: State, z: Rows, error: Rows, near: NDArray[np.bool_], number: tuple[int, int, int]
) -> Events:
    """Rows at which the side is not known, and how far that goes on to both sides."""
    row, unit = np.nonzero(near & state.is_own[:, None])
    if not len(row):
        return _made(*(np.zeros(0),) * 2, np.zeros(0, np.int64), *(np.zeros(0),) * 2, number)
    ends: list[Column] = []
    sides: list[Column] = []
    for way in (-1, +1):
        other = np.clip(row + way, 0, len(z) - 1)
        here, there = z[row, unit], z[other, unit]
        bound = np.maximum(entry(error, row, unit), entry(error, other, unit))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (bound + np.abs(here)) / np.abs(there - here)
        share = np.where(np.isfinite(share), np.minimum(share, 1.0), 1.0)
        ends.append(state.t[row] + share * (state.t[other] - state.t[row]) + way * T_ERROR)
        known = (other != row) & ~near[other, unit]
        sides.append(np.where(known, np.sign(there), 0.0))
    return _made(ends[0], ends[1], unit, sides[0], sides[1], number)


def _made(
    low: Column,
    high: Column,
    unit: NDArray[np.int64],
    left: Column,
    right: Column,
    number: tuple[int, int, int],
) -> Events:
    step, knot, n_knots = number
    n = len(low)
    return Events(
        low,
        high,
        np.full(n, step, np.int32),
        unit.astype(np.int64) * n_knots + knot,
        left.astype(np.int8),
        right.astype(np.int8),
        np.ones(n, np.int32),
    )
