"""Where units with knots change their side, and where they may."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _loops as loops
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._events import Events, joined, none
from deephochuli.pieces._norms import U
from deephochuli.pieces._state import Column, State, Value

Index = NDArray[np.int64]
_Crossed = tuple[Index, Column, Index, Column]
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

    cell: Index
    lam: Column
    unit: Index
    target: Column
    tolerance: Column


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What the rows say about one knot.

    Attributes:
        knot: Where the units bend.
        number: (step, number of the knot, number of knots), for events.
        near: Row and unit of each entry that is within its error of the knot, shape (2, n).
        cross: Cell and unit of each strict change of side, shape (2, n).
    """

    knot: float
    number: tuple[int, int, int]
    near: Index
    cross: Index


def look(value: Value, op: Elementwise, step: int) -> list[Sides]:
    """Compare all rows with all knots of a step."""
    it = value.entry_bound()
    n = value.rows.shape[1]
    slack = 1 + 8 * U  # the roundings of the comparison itself
    unit, floor = _wide(it.unit, n), _wide(it.floor * slack, n)
    found: list[Sides] = []
    for k, knot in enumerate(op.knots.tolist()):
        columns = it.row * slack, unit, floor, value.error == 0
        near, cross = loops.sides(np.ascontiguousarray(value.rows), *columns, knot)
        found.append(Sides(knot, (step, k, len(op.knots)), near, cross))
    return found


def snapped(value: Value, sides: list[Sides]) -> Value:
    """Numbers that are a rounding away from a knot are put on it.

    Numerics:
        By at most `TYPICAL` times what the number was summed from, and never beyond its bound; what
        was moved is added to the error.
    """
    rows, moved = value.rows, np.zeros(len(value.rows))
    for side in sides:
        if not side.near.shape[1]:
            continue
        r, j = side.near
        typical = np.abs(rows[r, j] - side.knot) <= TYPICAL * value.scale_at(r, j)
        r, j = r[typical], j[typical]
        if len(r):
            rows = rows.copy() if rows is value.rows else rows
            moved += np.bincount(r, (rows[r, j] - side.knot) ** 2, minlength=len(rows))
            rows[r, j] = side.knot
    return (
        value
        if rows is value.rows
        else replace(value, rows=rows, error=value.error + np.sqrt(moved))
    )


def crossings(value: Value, sides: list[Sides]) -> Crossings:
    """Strict changes of side between neighbouring rows of the model."""
    found = [_crossings(value, side) for side in sides]
    if len(found) == 1:
        return Crossings(*found[0])
    cell, lam, unit, target, tolerance = (np.concatenate(each) for each in zip(*found, strict=True))
    return ordered(cell.astype(np.int64), lam, unit.astype(np.int64), target, tolerance)


def ordered(cell: Index, lam: Column, unit: Index, target: Column, tolerance: Column) -> Crossings:
    """Crossings in their order along the segment."""
    order = np.lexsort((lam, cell))
    return Crossings(cell[order], lam[order], unit[order], target[order], tolerance[order])


def _crossings(value: Value, side: Sides) -> tuple[Index, Column, Index, Column, Column]:
    rows = np.ascontiguousarray(value.rows)
    # Not all of `cross` still are: an end may have been put on the knot.
    order = np.arange(len(rows))
    found = cast("_Crossed", loops.crossed(rows, order, side.cross[0], side.cross[1], side.knot))
    cell, lam, unit, change = found
    scale = value.scale_at(cell, unit) + value.scale_at(cell + 1, unit)
    is_exact = (value.error[cell] == 0) & (value.error[cell + 1] == 0)
    tolerance = np.where(is_exact, 0.0, TYPICAL * scale / change)
    return cell, lam, unit, np.full(len(cell), side.knot), tolerance


def events(state: State, value: Value, sides: list[Sides]) -> Events:
    """What is known of the bends of all units of a step, from the rows of the model.

    The true number is within the bound of the model's anywhere in a cell; so a unit can only change
    sides where the model is within the bound of the knot.
    """
    parts = [
        part
        for side in sides
        for part in (_clear(state, value, side), _near(state, value, side))
        if len(part)
    ]
    return joined(parts)


def _clear(state: State, value: Value, side: Sides) -> Events:
    """Changes of side between two rows at which the side is known."""
    it, n = value.entry_bound(), value.rows.shape[1]
    low, high, unit, left, right = loops.clear(
        np.ascontiguousarray(value.rows),
        state.t,
        np.arange(len(state)),
        state.is_own,
        value.error,
        it.row,
        _wide(it.unit, n),
        _wide(it.floor, n),
        side.cross,
        side.knot,
        1 + 8 * U,
        T_ERROR,
    )
    return made(low, high, unit, left, right, side.number)


def _wide(x: Column, n: int) -> Column:
    """One number for each unit, of an array that may hold one for all."""
    return x if len(x) == n else np.full(n, x[0])


def _near(state: State, value: Value, side: Sides) -> Events:
    """Rows at which the side is not known, and how far that goes on to both sides."""
    row, unit = side.near
    if not len(row):
        return none()
    own = state.is_own[row]
    row, unit = row[own], unit[own]
    ends: list[Column] = []
    signs: list[Column] = []
    for way in (-1, +1):
        other = np.clip(row + way, 0, len(state) - 1)
        here, there = (value.rows[r, unit] - side.knot for r in (row, other))
        error_there = value.error_at(other, unit)
        bound = np.maximum(value.error_at(row, unit), error_there)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (bound + np.abs(here)) / np.abs(there - here)
        share = np.where(np.isfinite(share), np.minimum(share, 1.0), 1.0)
        ends.append(state.t[row] + share * (state.t[other] - state.t[row]) + way * T_ERROR)
        known = (other != row) & (np.abs(there) > error_there)
        signs.append(np.where(known, np.sign(there), 0.0))
    return made(ends[0], ends[1], unit, signs[0], signs[1], side.number)


def made(
    low: Column,
    high: Column,
    unit: Index,
    left: Column | NDArray[np.int8],
    right: Column | NDArray[np.int8],
    number: tuple[int, int, int],
) -> Events:
    """Events of one knot of one step."""
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
