"""Compiled: whole steps, put together from the passes over the rows.

What they do is in `_bend`, `_crossings`, `_insert`, `_state` and `_moves`, array by array; on short
segments most of the time went into calling all of that.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces import _loops as loops
from deephochuli.pieces._loops import INNER, OPTIONS

FINEST = -1000
"""Products of finer numbers could be subnormal, and then rounded."""
_SURPLUS = 1 + 2.0**-20
"""Covers the roundings of a sum of magnitudes."""


@nb.njit(error_model="numpy", **OPTIONS)
def planned(
    t: Any, order: Any, is_own: Any, z: Any, error: Any, entries: Any, cross: Any, typical: Any,
    t_error: Any, u: Any,
) -> Any:  # fmt: skip
    """Where units cross zero: the events, and the rows to be put in.

    `t` and `cross` are in the order of the segment; what is known of row r is stored at order[r].
    `entries` are the columns of `_state.Entries`; `cross` is as `_loops.sides` returns it, without
    any entry that is near zero.

    Returns:
        (The events as `_loops.clear` returns them, the crossings as `_loops.crossed` does, the rows
        as `_loops.placed` does).
    """
    row, unit, floor, _, _ = entries
    stored = is_own, error, row, unit, floor
    events = loops.clear(z, t, order, *stored, cross, 0.0, 1 + 8 * u, t_error)
    return events, *placed(t, order, z, error, entries, cross, typical)


@nb.njit(error_model="numpy", **OPTIONS)
def placed(t: Any, order: Any, z: Any, error: Any, entries: Any, cross: Any, typical: Any) -> Any:
    """Crossings and the rows to be put in; see `planned`."""
    _, unit, _, reach, offset = entries
    crossings = loops.crossed(z, order, cross[0], cross[1], 0.0)
    cell, lam, which, change = crossings
    tolerance = np.zeros(len(cell))
    for i in range(len(cell)):
        here, there, j = order[cell[i]], order[cell[i] + 1], which[i]
        if error[here] != 0.0 or error[there] != 0.0:
            scale = reach[here] * unit[j] + offset[j] + (reach[there] * unit[j] + offset[j])
            tolerance[i] = typical * scale / change[i]
    return crossings, loops.placed(t, cell, lam, tolerance)


@nb.njit(error_model="numpy", **OPTIONS)
def turned(
    t: Any, known: Any, jump: Any, cell: Any, lam: Any, row: Any, unit: Any, made: Any,
    t_error: Any, u: Any,
) -> Any:  # fmt: skip
    """A ReLU with rows put in at its crossings.

    `t` are the places of all rows; `known` are the rows before (numbers, error, error of the jump);
    `cell` and `lam` say where rows are new, `row` and `unit` what is set to zero. The arrays `made`
    are filled: the numbers at all rows, those behind the ReLU, the jumps before and behind it.

    Returns:
        (Error of the numbers, of the jumps before and behind).
    """
    z, error, jump_error = known
    at_rows, out, spread, passed = made
    size = loops._interpolate(z, cell, lam, at_rows)
    loops._spread_zeros(jump, cell, spread)
    added = between(z, error, (cell, cell + 1), lam, size, u)
    error = loops.spread(error, added, cell)
    moved = np.zeros(len(t))
    for i in range(len(row)):
        moved[row[i]] += at_rows[row[i], unit[i]] ** 2
        at_rows[row[i], unit[i]] = 0.0
    error = error + np.sqrt(moved)
    before = loops.spread(jump_error, np.zeros(len(cell)), cell)
    is_on, zero = loops._rectify(at_rows, spread, out, passed)
    behind = np.where(is_on, before, 0.0)
    slopes = np.array([[0.0], [1.0]])
    values, bounds = loops.knot_jumps(
        t, np.arange(len(t)), at_rows, error, spread, before, zero, slopes, 0.0, t_error, u, 1.0
    )
    added = np.zeros(len(t))
    for i in range(zero.shape[1]):
        r = zero[0, i]
        if 0 < r < len(t) - 1:
            passed[r, zero[1, i]] = values[i]
        added[r] += bounds[i]
    return error, before, behind + added


@nb.njit(**OPTIONS)
def between(z: Any, error: Any, rows: Any, lam: Any, size: Any, u: Any) -> Any:
    """Errors of rows put in between two others each: see `_state.Value.inserted`."""
    out, (before, behind) = np.empty(len(lam)), rows
    for i in range(len(lam)):
        out[i] = error_between(z, error, before[i], behind[i], lam, i, size[i], u)
    return out


@nb.njit(**INNER)
def error_between(
    z: Any, error: Any, here: Any, there: Any, lam: Any, i: Any, size: Any, u: Any
) -> Any:
    """The error of one row, put in at lam[i] of the way between two others."""
    a, b = error[here], error[there]
    if a == 0.0 and b == 0.0:
        finest_a, largest_a = loops.grain_of(z[here])
        finest_b, largest_b = loops.grain_of(z[there])
        share = min(loops.grain_of(lam[i : i + 1])[0], 0)
        if fits(2 * max(largest_a, largest_b), min(finest_a, finest_b) + share):
            return 0.0
    return max(a, b) + 4 * u * size


@nb.njit(**OPTIONS)
def fits(largest: Any, finest: Any) -> Any:
    """Whether sums of this magnitude, of multiples of 2^finest, are exact in float64."""
    return finest > FINEST and largest * _SURPLUS < math.ldexp(1.0, min(finest, 900) + 53)


@nb.njit(**OPTIONS)
def rounded(x: Any, may_be: Any, fixed: Any) -> Any:
    """What the rounding of an affine step depends on.

    `may_be` says which rows may be exact; `fixed` is `_exactness.Grain.fixed` of the step.

    Returns:
        (2-norm of each row, how many of its numbers are not zero, whether the step rounds nothing).
    """
    factor, offset, reach, shift, divides = fixed
    size, is_exact = np.empty(len(x)), np.zeros(len(x), np.bool_)
    terms = np.empty(len(x), np.int64)
    for r in range(len(x)):
        here, n = x[r], 0
        for j in range(len(here)):
            n += here[j] != 0.0
        size[r], terms[r] = np.sqrt(_square(here)), n
        if may_be[r] and divides:
            finest, largest = loops.grain_of(x[r])
            whole = min(finest + factor, offset)
            is_exact[r] = largest == 0.0 or fits(reach * largest + shift, whole)
    return size, terms, is_exact


@nb.njit(fastmath={"reassoc", "contract"}, **OPTIONS)
def _square(x: Any) -> Any:
    """The sum of all squares, in an order that suits the machine."""
    total = 0.0
    for j in range(len(x)):
        total += x[j] * x[j]
    return total


@nb.njit(**OPTIONS)
def zero_rows(x: Any, may_be: Any) -> Any:
    """Which of the rows that may be are zero throughout."""
    found = np.zeros(len(x), np.bool_)
    for r in range(len(x)):
        found[r] = may_be[r] and not x[r].any()
    return found
