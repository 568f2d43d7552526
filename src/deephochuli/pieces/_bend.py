"""Piecewise linear steps with knots: rows inserted, values bent, jumps made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _crossings as crossings
from deephochuli.pieces import _loops as loops
from deephochuli.pieces._affine import Rows
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._events import Events
from deephochuli.pieces._insert import inserted, put
from deephochuli.pieces._norms import U, bend_rounding, lipschitz
from deephochuli.pieces._state import Column, State, Value, norm

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
    known = crossings.events(state, state.values[source], sides)
    value = crossings.snapped(state.values[source], sides)
    found = crossings.crossings(value, sides)
    before = State(state.t, state.is_own, state.step, state.unit, state.values | {source: value})
    grown = inserted(before, found, step, most_rows)
    if grown is None:
        return None
    after, row = grown
    z = put(after.values[source], row, found.unit, found.target)
    after.values[source] = z
    return after, _rectified(after.t, z, op) if op.is_relu else _bent(after.t, z, op), known


def _bent(t: Column, z: Value, op: Elementwise) -> Value:
    """The output of a step behind which there are rows at all its bends."""
    jump, jump_error = _jump(t, z, op)
    rounding = np.where(z.error == 0, 0.0, bend_rounding(op, norm(z.rows)))
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
    if not op.is_relu:
        error = error + np.where(error > 0, 4 * U * norm(jump), 0.0)
    for k, knot in enumerate(op.knots):
        _put_jumps(jump, error, t, z, op, k, np.array(np.nonzero(z.rows == knot)))
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
    inside = (on_knot[0] > 0) & (on_knot[0] < len(t) - 1)
    row, unit = on_knot[:, inside]
    made, bound = _jump_at_knot(t, z, op, k, row, unit)
    jump[row, unit] = made
    error += np.bincount(row, bound, minlength=len(t))


def _jump_at_knot(
    t: Column,
    z: Value,
    op: Elementwise,
    k: int,
    row: NDArray[np.int64],
    unit: NDArray[np.int64],
) -> tuple[Column, Column]:
    """Jumps of units that are on a knot, and their errors."""
    assert z.jump is not None
    assert z.jump_error is not None
    left, right = z.rows[row - 1, unit] - op.knots[k], z.rows[row + 1, unit] - op.knots[k]
    before, behind = t[row] - t[row - 1], t[row + 1] - t[row]
    columns = np.zeros_like(unit) if op.slopes.shape[1] == 1 else unit
    s_left: Column = op.slopes[np.where(left > 0, k + 1, k), columns]
    s_right: Column = op.slopes[np.where(right > 0, k + 1, k), columns]
    s_left = np.where(left == 0, s_right, s_left)
    s_right = np.where(right == 0, s_left, s_right)
    bends_here = s_left != s_right
    # A row made by this step alone: z is one line around it, so its slope loses nothing.
    is_fresh = (z.jump_error[row] == 0) & ~z.jump[row].any(axis=1)
    slope = (right - left) / (before + behind)
    fresh: Column = (s_right - s_left) * slope
    joint: Column = s_right * (right / behind) + s_left * (left / before)
    passed: Column = s_left * z.jump[row, unit]
    made = np.where(bends_here, np.where(is_fresh, fresh, joint), passed)
    size: Column = np.abs(s_right * right / behind) + np.abs(s_left * left / before)
    shortest = np.minimum(before, behind)
    unsure = (z.error[row - 1] + z.error[row] + z.error[row + 1]) / shortest
    bound = size * (crossings.T_ERROR / shortest + 8 * U) + unsure * lipschitz(op)
    return made, np.where(bends_here & ~is_fresh, bound, 0.0)
