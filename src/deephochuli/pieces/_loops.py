"""Compiled: the passes over all rows that would be many in array operations."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces._memory import fresh

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True}
INNER: dict[str, Any] = {
    **{"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
}
"""For functions that only compiled ones call: what Python would need to call them costs as much to
compile as they do, and each call counts the references to its arrays by atomic operations."""
COARSEST = 1 << 20


@nb.njit(**OPTIONS)
def sides(z: Any, row: Any, unit: Any, floor: Any, is_exact: Any, knot: Any) -> Any:
    """Entries that may be on either side of a knot, and strict changes of side between rows.

    Entry (r, j) errs by at most row[r] * unit[j] + floor[j], or not at all in an exact row.

    Returns:
        (Row and unit of each entry that is within its error of the knot, cell and unit of each
        change of side), in the order of the rows.
    """
    n_near, n_cross = _count_sides(z, row, unit, floor, is_exact, knot)
    near = np.empty((2, n_near.sum()), np.int64)
    cross = np.empty((2, n_cross.sum()), np.int64)
    i = k = 0
    for r in range(z.shape[0]):
        if n_near[r]:
            for j in range(z.shape[1]):
                if abs(z[r, j] - knot) <= row[r] * unit[j] + floor[j]:
                    near[0, i], near[1, i] = r, j
                    i += 1
        if n_cross[r]:
            for j in range(z.shape[1]):
                here, there = z[r, j] - knot, z[r + 1, j] - knot
                if (here < 0.0 and there > 0.0) or (here > 0.0 and there < 0.0):
                    cross[0, k], cross[1, k] = r, j
                    k += 1
    return near, cross


@nb.njit(**OPTIONS)
def _count_sides(z: Any, row: Any, unit: Any, floor: Any, is_exact: Any, knot: Any) -> Any:
    """How many of both each row has: most have none, and are not looked at again."""
    n_near, n_cross = np.zeros(len(z), np.int64), np.zeros(len(z), np.int64)
    for r in range(z.shape[0]):
        here = z[r]
        if not is_exact[r]:
            n, error = 0, row[r]
            for j in range(len(here)):
                n += abs(here[j] - knot) <= error * unit[j] + floor[j]
            n_near[r] = n
        if r + 1 < z.shape[0]:
            n, there = 0, z[r + 1]
            for j in range(len(here)):
                a, b = here[j] - knot, there[j] - knot
                n += ((a < 0.0) & (b > 0.0)) | ((a > 0.0) & (b < 0.0))
            n_cross[r] = n
    return n_near, n_cross


def interpolated(x: Any, cell: Any, lam: Any) -> Any:
    """Rows put in between neighbours: x[cell] + lam * (x[cell + 1] - x[cell]).

    Returns:
        (All rows, |x[cell]| + |x[cell + 1]| of each new one).
    """
    out = fresh(len(x) + len(cell), x.shape[1])
    return out, _interpolate(x, cell, lam, out)


@nb.njit(**OPTIONS)
def _interpolate(x: Any, cell: Any, lam: Any, out: Any) -> Any:
    size = np.empty(len(cell))
    k = 0
    for r in range(len(x)):
        here, old = x[r], out[r + k]
        for j in range(len(here)):
            old[j] = here[j]
        first = k
        while k < len(cell) and cell[k] == r:
            there, new, share = x[r + 1], out[r + k + 1], lam[k]
            for j in range(len(here)):
                new[j] = here[j] + share * (there[j] - here[j])
            k += 1
        if k > first:
            a = b = 0.0
            for j in range(len(here)):
                a += x[r, j] * x[r, j]
                b += x[r + 1, j] * x[r + 1, j]
            size[first:k] = np.sqrt(a) + np.sqrt(b)
    return size


@nb.njit(**OPTIONS)
def spread(old: Any, new: Any, cell: Any) -> Any:
    """Numbers of old rows, with those of new ones behind the rows `cell`, ascending."""
    both = np.empty(len(old) + len(cell), old.dtype)
    k = 0
    for r in range(len(old)):
        both[r + k] = old[r]
        while k < len(cell) and cell[k] == r:
            both[r + k + 1] = new[k]
            k += 1
    return both


def spread_zeros(old: Any, cell: Any) -> Any:
    """Old rows, with rows of zeros behind the rows `cell`, ascending."""
    both = fresh(len(old) + len(cell), old.shape[1])
    _spread_zeros(old, cell, both)
    return both


@nb.njit(**OPTIONS)
def _spread_zeros(old: Any, cell: Any, both: Any) -> None:
    k = 0
    for r in range(len(old)):
        here, to = old[r], both[r + k]
        for j in range(len(here)):
            to[j] = here[j]
        while k < len(cell) and cell[k] == r:
            both[r + k + 1] = 0.0
            k += 1


@nb.njit(error_model="numpy", **OPTIONS)
def crossed(z: Any, order: Any, cell: Any, unit: Any, knot: Any) -> Any:
    """Where in their cells units cross a knot, ordered by cell and place.

    `cell` is ascending; row r along the segment is stored in row order[r] of `z`.

    Returns:
        (Cell, place in it, unit, change of the value over the cell) of each crossing that is
        still one.
    """
    n, most = 0, len(cell)
    inside, which = np.empty(most, np.int64), np.empty(most, np.int64)
    lam, change = np.empty(most), np.empty(most)
    for i in range(most):
        a, b = z[order[cell[i]], unit[i]] - knot, z[order[cell[i] + 1], unit[i]] - knot
        if a * np.sign(b) < 0:
            inside[n], which[n] = cell[i], unit[i]
            lam[n], change[n] = a / (a - b), abs(b - a)
            n += 1
    inside, lam, which, change = inside[:n], lam[:n], which[:n], change[:n]
    _sort(inside, lam, which, change)
    return inside, lam, which, change


@nb.njit(**INNER)
def _sort(cell: Any, lam: Any, unit: Any, change: Any) -> None:
    """Order the crossings of each cell by place; `cell` is ascending, and so it stays."""
    begin = 0
    while begin < len(cell):
        end = begin + 1
        while end < len(cell) and cell[end] == cell[begin]:
            end += 1
        if end - begin > 32:
            _sort_many(lam[begin:end], unit[begin:end], change[begin:end])
        else:
            for i in range(begin + 1, end):
                k, place, which, size = i, lam[i], unit[i], change[i]
                while k > begin and lam[k - 1] > place:
                    lam[k], unit[k], change[k] = lam[k - 1], unit[k - 1], change[k - 1]
                    k -= 1
                lam[k], unit[k], change[k] = place, which, size
        begin = end


@nb.njit(**INNER)
def _sort_many(lam: Any, unit: Any, change: Any) -> None:
    """The same for one cell with many."""
    order = np.argsort(lam, kind="mergesort")
    places, units, changes = lam.copy(), unit.copy(), change.copy()
    for i in range(len(order)):
        lam[i], unit[i], change[i] = places[order[i]], units[order[i]], changes[order[i]]


@nb.njit(error_model="numpy", **OPTIONS)
def clear(
    z: Any,
    t: Any,
    order: Any,
    is_own: Any,
    error: Any,
    row: Any,
    unit: Any,
    floor: Any,
    cross: Any,
    knot: Any,
    slack: Any,
    t_error: Any,
) -> Any:
    """Changes of side between two rows at which the side is known, in cells of this chunk.

    Entry (r, j) errs by at most `slack` (row[r] * unit[j] + floor[j]), or not at all in a row
    whose `error` is zero; places of rows by `t_error`. Only `t` is in the order of the segment:
    what else is known of row r is stored at order[r].

    Returns:
        (Where the change is at least and at most, its unit, its sides before and behind).
    """
    n = 0
    low, high = np.empty(cross.shape[1]), np.empty(cross.shape[1])
    which = np.empty(cross.shape[1], np.int64)
    left, right = np.empty(cross.shape[1], np.int8), np.empty(cross.shape[1], np.int8)
    for i in range(cross.shape[1]):
        r, j = cross[0, i], cross[1, i]
        here, there = order[r], order[r + 1]
        if not is_own[here]:
            continue
        a, b = z[here, j] - knot, z[there, j] - knot
        error_a = 0.0 if error[here] == 0.0 else (row[here] * unit[j] + floor[j]) * slack
        error_b = 0.0 if error[there] == 0.0 else (row[there] * unit[j] + floor[j]) * slack
        if abs(a) > error_a and abs(b) > error_b:
            low[n], high[n] = span(a, b, max(error_a, error_b), t[r], t[r + 1], t_error)
            which[n], left[n], right[n] = j, np.sign(a), np.sign(b)
            n += 1
    return low[:n], high[:n], which[:n], left[:n], right[:n]


@nb.njit(error_model="numpy", **INNER)
def span(a: Any, b: Any, error: Any, begin: Any, end: Any, t_error: Any) -> Any:
    """Where a number that is a at one place, and b of the other sign at another, may be zero."""
    lam, half, length = a / (a - b), error / abs(b - a), end - begin
    low = begin + max(lam - half, 0.0) * length - t_error
    return low, begin + min(lam + half, 1.0) * length + t_error


@nb.njit(**OPTIONS)
def placed(t: Any, cell: Any, lam: Any, tolerance: Any) -> Any:
    """Rows for crossings, ordered by cell and place, between rows at `t`.

    Crossings that cannot be told apart share a row; one that falls on a row that is there takes
    that one.

    Returns:
        (Number of the first crossing of each new row, its place, the row of each crossing once
        all are put in, the longest cell that is parted).
    """
    n = 0
    first, place = np.empty(len(cell), np.int64), np.empty(len(cell))
    row, put_in = np.empty(len(cell), np.int64), np.zeros(len(t) + 1, np.int64)
    was_new, before, longest = False, 0.0, 0.0
    for i in range(len(cell)):
        begin, end = t[cell[i]], t[cell[i] + 1]
        length = end - begin
        longest = max(longest, length)
        at = begin + lam[i] * length if lam[i] <= 0.5 else end - (1 - lam[i]) * length
        is_new = begin < at and at < end
        if is_new:
            differs = i == 0 or not was_new or cell[i] > cell[i - 1]
            if not differs:
                apart = lam[i] - lam[i - 1] > tolerance[i] + tolerance[i - 1]
                differs = apart and at - before > 0
            if differs:
                first[n], place[n] = i, at
                put_in[cell[i] + 1] += 1
                n += 1
            row[i] = cell[first[n - 1]] + n  # the new ones before it, and itself
        else:
            row[i] = -1 - (cell[i] + (at >= end))
        was_new, before = is_new, at
    for r in range(len(t)):
        put_in[r + 1] += put_in[r]  # from now on: in all cells before
    for i in range(len(cell)):
        if row[i] < 0:
            row[i] = -1 - row[i] + put_in[-1 - row[i]]
    return first[:n], place[:n], row, longest


def rectified(z: Any, jump: Any) -> Any:
    """max(z, 0), and jumps multiplied by its slope.

    Returns:
        (Values, jumps, whether any unit of a row is on, row and unit of each zero).
    """
    out, passed = fresh(*z.shape), fresh(*z.shape)
    return out, passed, *_rectify(z, jump, out, passed)


@nb.njit(**OPTIONS)
def _rectify(z: Any, jump: Any, out: Any, passed: Any) -> Any:
    is_on, zeros = np.zeros(len(z), np.bool_), np.zeros(len(z), np.int64)
    for r in range(len(z)):
        here, there, to, on = z[r], jump[r], out[r], passed[r]
        some = none = 0
        for j in range(len(here)):
            a, b = here[j], there[j]  # both are read first, so that nothing branches
            to[j] = a if a > 0.0 else 0.0
            on[j] = b if a > 0.0 else 0.0
            some += a > 0.0
            none += a == 0.0
        is_on[r], zeros[r] = some > 0, none
    zero = np.empty((2, zeros.sum()), np.int64)
    k = 0
    for r in np.flatnonzero(zeros):
        for j in range(z.shape[1]):
            if z[r, j] == 0.0:
                zero[0, k], zero[1, k] = r, j
                k += 1
    return is_on, zero


@nb.njit(error_model="numpy", **OPTIONS)
def knot_jumps(
    t: Any, order: Any, z: Any, error: Any, jump: Any, jump_error: Any, on_knot: Any, slopes: Any,
    knot: Any, t_error: Any, u: Any, lipschitz: Any,
) -> Any:  # fmt: skip
    """Jumps of units that are on a knot, and what these add to the errors.

    `t` and `on_knot` are in the order of the segment; what is known of row r is stored at order[r].

    `slopes` are those before and behind the knot, shape (2, units) or (2, 1). On a knot the jump
    is s+ z'+ - s- z'-, with the slopes of the function and of z on both sides.

    Returns:
        (Jump of each, nan at the ends of all rows; bound on the error of each).
    """
    made, bound = np.empty(on_knot.shape[1]), np.zeros(on_knot.shape[1])
    for i in range(on_knot.shape[1]):
        r, j = on_knot[0, i], on_knot[1, i]
        if r == 0 or r == len(t) - 1:
            made[i] = np.nan
            continue
        column = j if slopes.shape[1] > 1 else 0
        p, here, q = order[r - 1], order[r], order[r + 1]
        left, right = z[p, j] - knot, z[q, j] - knot
        before, behind = t[r] - t[r - 1], t[r + 1] - t[r]
        s_left, s_right = slopes[int(left > 0), column], slopes[int(right > 0), column]
        s_left = s_right if left == 0 else s_left
        s_right = s_left if right == 0 else s_right
        if s_left == s_right:
            made[i] = s_left * jump[here, j]
        elif jump_error[here] == 0 and not jump[here].any():
            # A row made by this step alone: z is one line around it, so its slope loses nothing.
            made[i] = (s_right - s_left) * ((right - left) / (before + behind))
        else:
            made[i] = s_right * (right / behind) + s_left * (left / before)
            size = abs(s_right * right / behind) + abs(s_left * left / before)
            shortest = min(before, behind)
            unsure = (error[p] + error[here] + error[q]) / shortest
            bound[i] = size * (t_error / shortest + 8 * u) + unsure * lipschitz
    return made, bound


@nb.njit(**OPTIONS)
def grain(x: Any) -> Any:
    """For each row the largest q such that all are multiples of 2^q, and the largest magnitude."""
    finest = np.empty(len(x), np.int64)
    largest = np.empty(len(x))
    for r in range(len(x)):
        finest[r], largest[r] = grain_of(x[r])
    return finest, largest


@nb.njit(**OPTIONS)
def grain_of(x: Any) -> Any:
    """The same for one row."""
    least, top = COARSEST, 0.0
    for j, bits in enumerate(x.view(np.int64)):
        top = max(top, abs(x[j]))
        exponent = (bits >> 52) & 0x7FF
        significand = bits & 0xFFFFFFFFFFFFF
        if exponent:
            significand |= 1 << 52
        else:
            exponent = 1
        if significand == 0:
            continue
        q = exponent - 1075
        while not significand & 1:
            step = 8 if not significand & 0xFF else 1
            significand >>= step
            q += step
        least = min(least, q)
    return least, top
