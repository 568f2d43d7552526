"""Compiled: loops over the numbers of rows that are stored in any order.

`order` says where the rows along the segment are stored. Rows are addressed by their number, and no
view of a row is made: counting references to it would take longer than much of what is done.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _loops as loops
from deephochuli.pieces import _signs as signs
from deephochuli.pieces import _sparse as sparse
from deephochuli.pieces._loops import INNER
from deephochuli.pieces._sparse import LANES

U = 2.0**-53
_SIDE_SLACK = 1 + 8 * U
"""The roundings of a comparison with a bound."""


@nb.njit(**INNER)
def scratch(width: Any) -> Any:
    """Room for what is known of some rows while they are multiplied, of this width at most.

    Returns:
        (Numbers of entries, facts, offsets of jumps, which are zero; copies of four rows).
    """
    return np.empty(width + LANES, np.int64), np.empty(8), np.zeros(width), np.empty((4, width))


@nb.njit(error_model="numpy", **INNER)
def move(
    layer: Any, order: Any, is_raw: Any, before: Any, behind: Any, entries: Any, counts: Any,
    sides: Any, scratch: Any,
) -> None:  # fmt: skip
    """A linear layer on all rows, and the ReLU before it where that is still to be done.

    Args:
        layer: The layer, `_links.Layer`.
        order: Where the rows are stored.
        is_raw: Whether the rows are those before a ReLU.
        before: The rows, `_links.Rows`; without jumps, where there are none.
        behind: Where to write the new ones; where there are no jumps, it may be the same memory.
        entries: Where to write what bounds single entries: `row` and `reach` of `_state.Entries`.
        counts: Where to write whether units of each row are on, and how many are within their error
            of zero.
        sides: Where to write which units are above and below zero; see `_signs.write`.
        scratch: See the function of this name.
    """
    grain, unit, floor = layer.grain, layer.unit, layer.floor
    x, z = before.x, behind.x
    is_exact = _exact_rows(grain, order, is_raw, x, before.error, scratch[3])
    sizes = _multiply(layer, order, is_raw, x, before.jump, z, behind.jump, scratch)
    _bound(layer, before.error, behind.error, entries, sizes, is_exact)
    row, z_error, (is_on, n_near), (on, off) = entries[0], behind.error, counts, sides
    for p in range(len(order)):
        bounds = row[p], unit, floor
        is_on[p], near = signs.write(z, bounds, layer.most, _SIDE_SLACK, p, on, off)
        n_near[p] = near if z_error[p] != 0.0 else 0
    errors = before.jump_error, behind.jump_error
    _bound_jumps(layer, order, before.jump, behind.jump, errors, sizes)


@nb.njit(error_model="numpy", **INNER)
def _bound(layer: Any, error: Any, z_error: Any, entries: Any, sizes: Any, is_exact: Any) -> None:
    """Errors of the rows behind a layer, and of their entries."""
    spectral, frobenius, offset_norm, gamma = layer.norms
    row, reach = entries
    for p in range(len(is_exact)):
        size = np.sqrt(sizes[p, 0])
        lost = rounding(sizes[p, 2], gamma) * size
        rounded = 0.0 if is_exact[p] else frobenius * lost + gamma * offset_norm
        row[p], reach[p] = error[p] + lost, size
        z_error[p] = spectral * error[p] + rounded


@nb.njit(**INNER)
def _exact_rows(grain: Any, order: Any, is_raw: Any, x: Any, error: Any, copies: Any) -> Any:
    """On which rows a layer rounds nothing, behind the ReLU that is still to be done."""
    found, n = np.zeros(len(order), np.bool_), x.shape[1]
    for p in order:
        if error[p] == 0.0:
            for j in range(n):
                copies[0, j] = 0.0 if is_raw and not x[p, j] > 0.0 else x[p, j]
            found[p] = _is_exact(grain, copies[0, :n])
    return found


@nb.njit(error_model="numpy", **INNER)
def _bound_jumps(layer: Any, order: Any, jump: Any, out: Any, errors: Any, sizes: Any) -> None:
    """Errors of the jumps behind a layer, where there are any."""
    if jump is not None:
        (jump_error, out_error), grain = errors, layer.grain
        spectral, frobenius, _, gamma = layer.norms
        for p in order:
            size, terms = np.sqrt(sizes[p, 1]), sizes[p, 3]
            rounded = frobenius * (rounding(terms, gamma) * size)
            if jump_error[p] == 0.0 and rounded > 0.0:
                if _is_exact(grain, jump[p]) or _meets_nothing(layer.weight, jump[p], out[p]):
                    rounded = 0.0
            out_error[p] = spectral * jump_error[p] + rounded


@nb.njit(**INNER)
def _multiply(
    layer: Any, order: Any, is_raw: Any, x: Any, jump: Any, z: Any, out: Any, scratch: Any
) -> Any:
    """Products of all rows, and of their jumps where there are any.

    Returns:
        For each row the sum of its squares, that of its jumps, and at least how many of both are
        not zero; where there are no jumps, nothing of these.
    """
    sizes = np.empty((len(order), 4))
    if jump is None:
        _multiply_values(layer, order, is_raw, x, z, scratch, sizes)
    else:
        _multiply_both(layer, order, is_raw, x, jump, z, out, scratch, sizes)
    return sizes


@nb.njit(**INNER)
def _multiply_values(
    layer: Any, order: Any, is_raw: Any, x: Any, z: Any, scratch: Any, sizes: Any
) -> None:
    """Products of all rows, four neighbours at a time; the last may be there more than once."""
    weight, last = layer.weight, len(order) - 1
    live, facts, _, copies = scratch
    at, to, offset = live.ctypes.data, facts.ctypes.data, layer.offset.ctypes.data
    begin, line = copies.ctypes.data, 8 * copies.shape[1]
    read = begin, begin + line, begin + 2 * line, begin + 3 * line
    numbers = weight.ctypes.data, offset, offset
    step, behind = 8 * x.shape[1], 8 * weight.shape[1]
    n_columns, n_vectors = x.shape[1] // LANES, weight.shape[1] // LANES
    x_at, z_at = x.ctypes.data, z.ctypes.data
    for r in range(0, len(order), 4):
        a, b = order[r], order[min(r + 1, last)]
        c, d = order[min(r + 2, last)], order[min(r + 3, last)]
        rows = x_at + a * step, x_at + b * step, x_at + c * step, x_at + d * step
        made = z_at + a * behind, z_at + b * behind, z_at + c * behind, z_at + d * behind
        n_live = sparse.read_values(rows, read, n_columns, is_raw, at, to)
        sparse.multiplied(at, n_live, read, numbers, made, n_vectors)
        sizes[a, 0], sizes[b, 0], sizes[c, 0], sizes[d, 0] = facts[0], facts[1], facts[2], facts[3]
        sizes[a, 2] = sizes[b, 2] = sizes[c, 2] = sizes[d, 2] = n_live


@nb.njit(**INNER)
def _multiply_both(
    layer: Any, order: Any, is_raw: Any, x: Any, jump: Any, z: Any, out: Any, scratch: Any,
    sizes: Any,
) -> None:  # fmt: skip
    """Products of all rows and of their jumps, two neighbours at a time."""
    weight, offset = layer.weight, layer.offset
    n, n_columns, n_vectors = len(order), x.shape[1] // LANES, weight.shape[1] // LANES
    live, facts, nothing, _ = scratch
    at, to = live.ctypes.data, facts.ctypes.data
    numbers = weight.ctypes.data, offset.ctypes.data, nothing.ctypes.data
    step, behind = 8 * x.shape[1], 8 * weight.shape[1]
    x_at, jump_at, z_at, out_at = x.ctypes.data, jump.ctypes.data, z.ctypes.data, out.ctypes.data
    for r in range(0, n - 1, 2):
        p, q = order[r], order[r + 1]
        rows = x_at + p * step, jump_at + p * step, x_at + q * step, jump_at + q * step
        made = z_at + p * behind, out_at + p * behind, z_at + q * behind, out_at + q * behind
        n_live = sparse.read(rows, n_columns, is_raw, at, to)
        sparse.multiplied(at, n_live, rows, numbers, made, n_vectors)
        for i in range(2):
            sizes[p, i], sizes[p, 2 + i] = facts[i], facts[4 + i]
            sizes[q, i], sizes[q, 2 + i] = facts[2 + i], facts[6 + i]
    if n % 2:
        p = order[n - 1]
        rows, made = (x_at + p * step, jump_at + p * step), (z_at + p * behind, out_at + p * behind)
        n_live = sparse.read(rows, n_columns, is_raw, at, to)
        sparse.multiplied(at, n_live, rows, numbers, made, n_vectors)
        sizes[p, 0], sizes[p, 1], sizes[p, 2], sizes[p, 3] = facts[0], facts[1], facts[2], facts[3]


@nb.njit(**INNER)
def rectify(x: Any, jump: Any, order: Any) -> None:
    """The ReLU on all rows and their jumps, in place."""
    for p in order:
        _rectify(x, jump, p)


@nb.njit(**INNER)
def _rectify(x: Any, jump: Any, p: Any) -> None:
    """The same on one row. Jumps of units that are zero are already those behind the ReLU."""
    for j in range(x.shape[1]):
        a, b = x[p, j], jump[p, j]  # both are read first, so that nothing branches
        x[p, j] = a if a > 0.0 else 0.0
        jump[p, j] = b if a >= 0.0 else 0.0


@nb.njit(fastmath={"reassoc", "contract"}, **INNER)
def _square(x: Any, p: Any) -> Any:
    """The sum of the squares of a row."""
    total = 0.0
    for k in range(x.shape[1]):
        total += x[p, k] * x[p, k]
    return total


@nb.njit(error_model="numpy", **INNER)
def rounding(terms: Any, gamma: Any) -> Any:
    """Relative rounding of a sum: what is multiplied with a zero neither rounds nor changes it."""
    return min(gamma, (terms + 2) * U / (1 - (terms + 2) * U))


@nb.njit(**INNER)
def _is_exact(grain: Any, x: Any) -> Any:
    """Whether a layer rounds nothing on an exact row."""
    factor, offset, reach, shift, _ = grain
    finest, largest = loops.grain_of(x)
    whole = min(finest + factor, offset)
    return largest == 0.0 or compiled.fits(reach * largest + shift, whole)


@nb.njit(**INNER)
def _meets_nothing(weight: Any, jump: Any, out: Any) -> Any:
    """Whether a jump meets only weights that are zero: that the result is zero, is no rounding."""
    if out.any():
        return False
    for k in range(len(weight)):
        if jump[k] != 0.0 and weight[k].any():
            return False
    return True


@nb.njit(**INNER)
def nears(order: Any, n_near: Any, z: Any, entries: Any) -> Any:
    """Row along the segment, and unit, of each entry that is within its error of zero."""
    n = k = 0
    for p in order:
        n += n_near[p]
    near = np.empty((2, n), np.int64)
    row, unit, floor = entries[0], entries[1], entries[2]
    for r, p in enumerate(order):
        if n_near[p]:
            for j in range(len(unit)):
                if abs(z[p, j]) <= (row[p] * unit[j] + floor[j]) * _SIDE_SLACK:
                    near[0, k], near[1, k] = r, j
                    k += 1
    return near


@nb.njit(error_model="numpy", **INNER)
def unclear(near: Any, t: Any, order: Any, z: Any, error: Any, entries: Any, t_error: Any) -> Any:
    """How far it goes on to both sides that a side is not known; see `_crossings._near`.

    Returns:
        (Where it begins and ends, the unit, its sides before and behind; 0 where not known).
    """
    n, (row, unit, floor, _, _) = near.shape[1], entries
    ends, signs = np.empty((2, n)), np.empty((2, n), np.int8)
    for i in range(n):
        r, j = near[0, i], near[1, i]
        here, bound = z[order[r], j], error_at(order[r], j, error, row, unit, floor)
        for way in range(2):
            other = min(max(r + 2 * way - 1, 0), len(order) - 1)
            there, known = z[order[other], j], error_at(order[other], j, error, row, unit, floor)
            share = (max(bound, known) + abs(here)) / abs(there - here)
            share = min(share, 1.0) if np.isfinite(share) else 1.0
            ends[way, i] = t[r] + share * (t[other] - t[r]) + (2 * way - 1) * t_error
            signs[way, i] = np.sign(there) if other != r and abs(there) > known else 0
    return ends[0], ends[1], near[1], signs[0], signs[1]


@nb.njit(**INNER)
def error_at(p: Any, j: Any, error: Any, row: Any, unit: Any, floor: Any) -> Any:
    """Bound on the error of one entry."""
    return 0.0 if error[p] == 0.0 else (row[p] * unit[j] + floor[j]) * _SIDE_SLACK


@nb.njit(**INNER)
def snap(near: Any, order: Any, z: Any, error: Any, entries: Any, typical: Any) -> Any:
    """Put entries that are a rounding away from zero on it; see `_crossings.snapped`.

    Returns:
        Whether one was, for each row as they are stored.
    """
    _, unit, _, reach, offset = entries
    moved, is_touched = np.zeros(len(order)), np.zeros(len(order), np.bool_)
    for i in range(near.shape[1]):
        p, j = order[near[0, i]], near[1, i]
        if abs(z[p, j]) <= typical * (reach[p] * unit[j] + offset[j]):
            moved[p] += z[p, j] ** 2
            z[p, j] = 0.0
            is_touched[p] = True
    for p in range(len(order)):
        error[p] += np.sqrt(moved[p])
    return is_touched


@nb.njit(**INNER)
def interpolate(x: Any, here: Any, there: Any, share: Any, p: Any) -> None:
    """Fill row p, between two others."""
    for j in range(x.shape[1]):
        x[p, j] = x[here, j] + share * (x[there, j] - x[here, j])


@nb.njit(**INNER)
def no_jump(jump: Any, jump_error: Any, p: Any) -> None:
    """Row p has no jump, where there are any."""
    if jump is not None:
        jump_error[p] = 0.0
        for j in range(jump.shape[1]):
            jump[p, j] = 0.0


@nb.njit(**INNER)
def size_of(x: Any, here: Any, there: Any) -> Any:
    """The sum of the 2-norms of two rows."""
    return np.sqrt(_square(x, here)) + np.sqrt(_square(x, there))


@nb.njit(**INNER)
def zeros(order: Any, is_touched: Any, error: Any, x: Any, n_units: Any, is_on: Any) -> Any:
    """Entries that are zero: of rows that are touched, and of exact ones; others have none.

    Whether units of such rows are on is found out again.

    Returns:
        Row along the segment, and unit, of each.
    """
    n = k = 0
    for p in range(len(order)):
        if is_touched[p] or error[p] == 0.0:
            is_on[p] = _is_any_positive(x, p)
            n += n_zeros(x, p, n_units)
    zero = np.empty((2, n), np.int64)
    if not n:
        return zero
    for r, p in enumerate(order):
        if is_touched[p] or error[p] == 0.0:
            for j in range(n_units):
                if x[p, j] == 0.0:
                    zero[0, k], zero[1, k] = r, j
                    k += 1
    return zero


@nb.njit(**INNER)
def n_zeros(x: Any, p: Any, n_units: Any) -> Any:
    """How many units of a row are zero."""
    n = 0
    for j in range(n_units):
        n += x[p, j] == 0.0
    return n


@nb.njit(**INNER)
def _is_any_positive(x: Any, p: Any) -> Any:
    """Whether an entry of a row is positive."""
    n = 0
    for j in range(x.shape[1]):
        n += x[p, j] > 0.0
    return n > 0


@nb.njit(**INNER)
def switch_off(order: Any, is_on: Any, jump_error: Any) -> None:
    """Behind a ReLU no jump of a row errs of which no unit is on."""
    for p in range(len(order)):
        if is_on[p] == 0:
            jump_error[p] = 0.0


@nb.njit(**INNER)
def put_jumps(order: Any, zero: Any, made: Any, bound: Any, jump: Any, jump_error: Any) -> None:
    """Jumps of units that are zero, and the errors that come with them."""
    for i in range(zero.shape[1]):
        r, p = zero[0, i], order[zero[0, i]]
        jump[p, zero[1, i]] = made[i] if 0 < r < len(order) - 1 else 0.0
        jump_error[p] += bound[i]
