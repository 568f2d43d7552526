"""Piecewise linear steps with knots: rows inserted, values bent, jumps made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _crossings as crossings
from deephochuli.pieces import _loops as loops
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._events import Events
from deephochuli.pieces._insert import grown, inserted, is_too_many, put
from deephochuli.pieces._memory import fresh
from deephochuli.pieces._moves import bend_error
from deephochuli.pieces._norms import U, lipschitz
from deephochuli.pieces._state import Column, Insertion, State, Value, norm

Bent = tuple[State, Value, Events]


def bent(state: State, op: Elementwise, step: int, source: int, most_rows: int) -> Bent | None:
    """Do one step with knots.

    Args:
        state: Rows before the step.
        op: The step.
        step: Its number.
        source: Number of the value it reads.
        most_rows: How many rows there may be.

    Returns:
        (The state with new rows, the output, what is known of the bends); None where there would be
        too many rows.
    """
    sides = crossings.look(state.values[source], op, step)
    if op.is_relu and not sides[0].near.shape[1] and state.values[source].jump is not None:
        return _turned(state, sides[0], source, most_rows)
    known = crossings.events(state, state.values[source], sides)
    value = crossings.snapped(state.values[source], sides)
    found = crossings.crossings(value, sides)
    before = State(state.t, state.is_own, state.step, state.unit, state.values | {source: value})
    grown = inserted(before, found, step, most_rows)
    if grown is None:
        return None
    after, row = grown
    is_new = after is not before
    z = put(after.values[source], row, found.unit, found.target, in_place=is_new)
    after.values[source] = z
    return after, _rectified(after.t, z, op) if op.is_relu else _bent(after.t, z, op), known


def _turned(state: State, side: crossings.Sides, source: int, most_rows: int) -> Bent | None:
    """The same for a ReLU that no unit is near to, compiled: most steps of most nets."""
    z = state.values[source]
    assert z.jump is not None
    assert z.jump_error is not None
    rows, jump = np.ascontiguousarray(z.rows), np.ascontiguousarray(z.jump)
    entries = z.entry_bound().wide(rows.shape[1])
    limits = crossings.T_ERROR, U
    events, found, placed = compiled.planned(
        state.t, np.arange(len(state)), state.is_own, rows, z.error, entries, side.cross,
        crossings.TYPICAL, *limits,
    )  # fmt: skip
    (cell, lam, unit, _), (first, t, row, longest) = found, placed
    if is_too_many(state, len(first), longest, most_rows):
        return None
    places = Insertion(cell[first], lam[first])
    others = State(state.t, state.is_own, state.step, state.unit, dict(state.values))
    del others.values[source]
    after = grown(others, places, t, unit[first], side.number[0])
    shape = len(after), rows.shape[1]
    made = fresh(*shape), fresh(*shape), fresh(*shape), fresh(*shape)
    error, before, behind = compiled.turned(
        after.t, (rows, z.error, z.jump_error), jump, places.cell, places.lam, row, unit, made,
        *limits,
    )  # fmt: skip
    after.values[source] = Value(made[0], error, None, z.has_exact_zeros, made[2], before)
    out = Value(made[1], error, None, has_exact_zeros=True, jump=made[3], jump_error=behind)
    low, high, which, left, right = events
    return after, out, crossings.made(low, high, which, left, right, side.number)


def _bent(t: Column, z: Value, op: Elementwise) -> Value:
    """The output of a step behind which there are rows at all its bends."""
    jump, jump_error = _jump(t, z, op)
    rounding = bend_error(op, z)
    error = lipschitz(op) * z.error + rounding
    return Value(op.apply(z.rows), error, None, op.is_relu, jump, jump_error)


def _rectified(t: Column, z: Value, op: Elementwise) -> Value:
    """The same for a ReLU, which rounds nothing, in one pass over values and jumps."""
    if z.jump is None or z.jump_error is None:
        return _bent(t, z, op)
    rows, jump = np.ascontiguousarray(z.rows), np.ascontiguousarray(z.jump)
    out, jump, is_on, zero = loops.rectified(rows, jump)
    jump_error = np.where(is_on, z.jump_error, 0.0)
    _put_jumps(jump, jump_error, t, z, op, 0, zero)
    return Value(out, z.error, None, has_exact_zeros=True, jump=jump, jump_error=jump_error)


def slopes_at(op: Elementwise, z: Rows) -> Rows:
    """Slope of the function at each number; at a knot the one before it."""
    if op.is_relu:
        return (z > 0).astype(np.float64)
    segment = segment_of(op, z)
    if op.slopes.shape[1] == 1:
        return op.slopes[:, 0][segment]
    return op.slopes[segment, np.arange(z.shape[1])]


def segment_of(op: Elementwise, z: Rows) -> NDArray[np.int64]:
    """How many knots are below each number."""
    return np.searchsorted(op.knots, z, side="left")


def _jump(t: Column, z: Value, op: Elementwise) -> tuple[Rows | None, Column | None]:
    """Jumps of the slope behind the step.

    Away from knots a jump is multiplied by the slope of the function there. On a knot it is
    s+ z'+ - s- z'-, with the slopes of the function and of z on both sides.
    """
    if z.jump is None or z.jump_error is None:
        return None, None
    slopes = slopes_at(op, z.rows)
    jump = z.jump * slopes
    error = np.where(slopes.any(axis=1), lipschitz(op) * z.jump_error, 0.0)
    for k, knot in enumerate(op.knots):
        _put_jumps(jump, error, t, z, op, k, np.array(np.nonzero(z.rows == knot)))
    if not bool((np.isin(np.frexp(np.abs(op.slopes))[0], (0.0, 0.5))).all()):
        # Products with 0 and with powers of two are exact; of jumps that cancel later, a rounding
        # in a product is all that is left.
        rounding = 4 * U * lipschitz(op) * norm(z.jump)
        error = error + np.where(jump.any(axis=1), rounding, 0.0)
    return jump, error


def _put_jumps(
    jump: Rows,
    error: Column,
    t: Column,
    z: Value,
    op: Elementwise,
    k: int,
    on_knot: NDArray[np.int64],
) -> None:
    """Set the jumps of units that are on a knot, and add the errors of these."""
    if not on_knot.shape[1] or z.jump is None:
        return
    known = np.ascontiguousarray(z.rows), z.error, np.ascontiguousarray(z.jump), z.jump_error
    limits = crossings.T_ERROR, U, lipschitz(op)
    made, bound = loops.knot_jumps(
        t, np.arange(len(t)), *known, on_knot, op.slopes[k : k + 2], float(op.knots[k]), *limits
    )
    row, unit = on_knot
    inside = (row > 0) & (row < len(t) - 1)
    jump[row[inside], unit[inside]] = made[inside]
    error += np.bincount(row, bound, minlength=len(t))
