"""Compiled: linear layers with a ReLU behind each, one after the other without a return.

What a layer does is in `_moves` and `_bend`, step by step. Here it is done row by row, and rows stay
where they are: a row that is put in is stored behind all others, and `order` says where the rows
along the segment are stored. `t` and numbers of cells are in the order of the segment, everything
else is in that of storing.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _loops as loops
from deephochuli.pieces import _sparse as sparse
from deephochuli.pieces._loops import OPTIONS
from deephochuli.pieces._sparse import LANES

U = 2.0**-53
_SIDE_SLACK = 1 + 8 * U
"""The roundings of a comparison with a bound."""
STEP, INPUTS, UNITS, FIRST, FACTOR, OFFSET = range(6)
"""Columns of a table of layers: what is a whole number."""
SPECTRAL, FROBENIUS, OFFSET_NORM, GAMMA, REACH, SHIFT = range(6)
"""Columns of a table of layers: what is none."""


class Layer(NamedTuple):
    """A linear layer; columns are filled up to whole vectors.

    Attributes:
        weight: Transposed, shape (inputs, width).
        offset: Shape (width,); like the other columns.
        unit: See `_state.Entries`.
        floor: See `_state.Entries`.
        size: Magnitudes of the offsets.
        n_units: How many of the columns are units.
        norms: What `_norms.Norms` has as one number each: spectral, frobenius, offset_norm, gamma.
        grain: `_exactness.Grain.fixed`.
    """

    weight: Any
    offset: Any
    unit: Any
    floor: Any
    size: Any
    n_units: Any
    norms: Any
    grain: Any


class Rows(NamedTuple):
    """Values and jumps of rows, and bounds on the 2-norm of the error of both."""

    x: Any
    jump: Any
    error: Any
    jump_error: Any


class Places(NamedTuple):
    """Where rows are, and what made them; see `_state.State`."""

    t: Any
    order: Any
    is_own: Any
    step: Any
    unit: Any


@nb.njit(**OPTIONS)
def width_of(n: Any) -> Any:
    """Columns of a layer of n units: whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@nb.njit(**OPTIONS)
def _layer(tables: Any, i: Any) -> Any:
    """One layer of a chain."""
    whole, real, numbers = tables
    n, first = whole[i, INPUTS], whole[i, FIRST]
    width = width_of(whole[i, UNITS])
    behind = first + n * width
    weight = numbers[first:behind].reshape((n, width))
    columns = numbers[behind : behind + 4 * width].reshape((4, width))
    of = real[i]
    grain = whole[i, FACTOR], whole[i, OFFSET], of[REACH], of[SHIFT], True
    norms = of[SPECTRAL], of[FROBENIUS], of[OFFSET_NORM], of[GAMMA]
    units = columns[0], columns[1], columns[2], columns[3]
    return Layer(weight, *units, whole[i, UNITS], norms, grain)


@nb.njit(error_model="numpy", **OPTIONS)
def run(tables: Any, places: Any, rows: Any, blocks: Any, most_rows: Any, limits: Any) -> Any:
    """Do layers until the last, or until one has a unit near its knot or too many rows.

    Args:
        tables: Numbers of all layers: whole ones, others, and those of all columns.
        places: Where the rows are, in their order.
        rows: What is known at them.
        blocks: Four blocks of memory for rows.
        most_rows: How many rows there may be before a layer.
        limits: `_crossings.TYPICAL` and `T_ERROR`.

    Returns:
        (Number of layers done, whether that was the last; the largest error of the outputs; of each
        row that bends, or before the next layer of each row: place, jump or error, and error of the
        jump; step, unit, whether it is own, where it is stored; events: low, high; step, unit, side
        before and behind).
    """
    whole = tables[0]
    widest = width_of(whole[:, UNITS].max())
    capacity = len(blocks[0]) // widest
    events = np.empty((2, 2 * capacity)), np.empty((4, 2 * capacity), np.int64)
    n_events, done = 0, 0
    places = _roomy(places, capacity)
    while done < len(whole) and len(places.t) <= most_rows:
        layer, pair = _layer(tables, done), 2 * (done % 2)
        z = _shaped(blocks[pair], layer), _shaped(blocks[pair + 1], layer)
        if whole[done, STEP] < 0:
            return _ended(
                layer, places, rows, z, (events[0][:, :n_events], events[1][:, :n_events])
            )
        turned = Rows(*z, np.empty(capacity), np.empty(capacity))
        room = events[0][:, n_events:], events[1][:, n_events:]
        n, places, is_done = _linked(layer, whole[done, STEP], places, rows, turned, room, limits)
        if not is_done:
            break
        n_events += n
        rows = turned
        done += 1
    order = places.order
    known = np.empty((3, len(order)))
    known[0], known[1], known[2] = places.t, rows.error[order], rows.jump_error[order]
    found = events[0][:, :n_events], events[1][:, :n_events]
    return done, False, 0.0, known, _origin(places, order), *found


@nb.njit(**OPTIONS)
def _roomy(places: Any, capacity: Any) -> Any:
    """Places with room for as many rows as the blocks have."""
    n = len(places.t)
    is_own = np.empty(capacity, np.bool_)
    step, unit = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    is_own[:n], step[:n], unit[:n] = places.is_own, places.step, places.unit
    return Places(places.t, places.order, is_own, step, unit)


@nb.njit(**OPTIONS)
def _shaped(block: Any, layer: Any) -> Any:
    """A block as rows behind a layer."""
    width = layer.weight.shape[1]
    n = len(block) // width
    return block[: n * width].reshape((n, width))


@nb.njit(**OPTIONS)
def _origin(places: Any, which: Any) -> Any:
    """What made some stored rows."""
    out = np.empty((4, len(which)), np.int64)
    for i, p in enumerate(which):
        out[0, i], out[1, i], out[2, i], out[3, i] = (
            places.step[p],
            places.unit[p],
            places.is_own[p],
            p,
        )
    return out


@nb.njit(error_model="numpy", **OPTIONS)
def _ended(layer: Any, places: Any, rows: Any, made: Any, events: Any) -> Any:
    """The last layer, which has no ReLU: what `run` returns."""
    n, capacity = len(places.t), len(made[0])
    out = Rows(made[0], made[1], np.empty(capacity), np.empty(capacity))
    bounds = np.empty(capacity), np.empty(capacity)
    live = np.empty(rows.x.shape[1] + 1, np.int64)
    known, bends = np.empty((3, n)), np.empty(n, np.int64)
    k, worst = 0, 0.0
    for r, p in enumerate(places.order):
        _row(layer, p, rows, out, bounds, live)
        worst = max(worst, out.error[p])
        if places.is_own[p] and places.step[p] >= 0:
            jump = np.abs(out.jump[p, : layer.n_units]).max()
            known[0, k], known[1, k], known[2, k] = places.t[r], jump, out.jump_error[p]
            bends[k] = p
            k += 1
    return 1, True, worst, known[:, :k].copy(), _origin(places, bends[:k]), *events


@nb.njit(error_model="numpy", **OPTIONS)
def _row(layer: Any, p: Any, before: Any, behind: Any, bounds: Any, live: Any) -> None:
    """The linear layer on one row: numbers, errors, and what bounds those of single entries."""
    spectral, frobenius, offset_norm, gamma = layer.norms
    x, jump, error, jump_error = before.x[p], before.jump[p], before.error[p], before.jump_error[p]
    n, n_x, n_jump = _lives(x, jump, live)
    weight, offset, width = layer.weight, layer.offset, layer.weight.shape[1]
    sparse.multiplied(
        live.ctypes.data,
        n,
        (x.ctypes.data, jump.ctypes.data),
        (weight.ctypes.data, offset.ctypes.data, 8 * width),
        (behind.x[p].ctypes.data, behind.jump[p].ctypes.data),
        width // LANES,
    )
    size = np.sqrt(compiled._square(x))
    lost = _rounding(n_x, gamma) * size
    rounded = frobenius * lost + gamma * offset_norm
    if error == 0.0 and _is_exact(layer, x):
        rounded = 0.0
    behind.error[p] = spectral * error + rounded
    bounds[0][p], bounds[1][p] = error + lost, size
    size = np.sqrt(compiled._square(jump))
    rounded = frobenius * (_rounding(n_jump, gamma) * size)
    if jump_error == 0.0 and rounded > 0.0:
        is_exact = _is_exact(layer, jump) or _meets_nothing(layer, jump, behind.jump[p], live[:n])
        rounded = 0.0 if is_exact else rounded
    behind.jump_error[p] = spectral * jump_error + rounded


@nb.njit(**OPTIONS)
def _lives(x: Any, jump: Any, live: Any) -> Any:
    """Write down which entries are not zero in a row or its jumps.

    Returns:
        (How many these are, how many are not zero in the row, and in its jumps).
    """
    n = n_x = n_jump = 0
    for k in range(len(x)):
        live[n] = k  # overwritten by the next one that is not zero, so that nothing branches
        n += (x[k] != 0.0) | (jump[k] != 0.0)
    for k in range(len(x)):
        n_x += x[k] != 0.0
        n_jump += jump[k] != 0.0
    return n, n_x, n_jump


@nb.njit(error_model="numpy", **OPTIONS)
def _rounding(terms: Any, gamma: Any) -> Any:
    """Relative rounding of a sum: what is multiplied with a zero neither rounds nor changes it."""
    return min(gamma, (terms + 2) * U / (1 - (terms + 2) * U))


@nb.njit(**OPTIONS)
def _is_exact(layer: Any, x: Any) -> Any:
    """Whether a layer rounds nothing on an exact row."""
    factor, offset, reach, shift, _ = layer.grain
    finest, largest = loops.grain_of(x)
    whole = min(finest + factor, offset)
    return largest == 0.0 or compiled.fits(reach * largest + shift, whole)


@nb.njit(**OPTIONS)
def _meets_nothing(layer: Any, jump: Any, out: Any, live: Any) -> Any:
    """Whether a jump meets only weights that are zero: that the result is zero, is no rounding."""
    if out.any():
        return False
    for k in live:
        if jump[k] != 0.0 and layer.weight[k].any():
            return False
    return True


@nb.njit(error_model="numpy", **OPTIONS)
def _linked(
    layer: Any, step: Any, places: Any, before: Any, behind: Any, room: Any, limits: Any
) -> Any:
    """One layer and its ReLU.

    Returns:
        (Number of events, the places with the new rows, whether it was done).
    """
    n, capacity = len(places.t), len(behind.error)
    bounds = np.empty(capacity), np.empty(capacity)
    is_near, n_cross = _moved(layer, places.order, before, behind, bounds)
    if is_near:
        return 0, places, False
    typical, t_error = limits
    cross = _changes(layer, places.order, behind.x, n_cross)
    entries = bounds[0], layer.unit, layer.floor, bounds[1], layer.size
    events, crossings, placed = compiled.planned(
        places.t, places.order, places.is_own, behind.x, behind.error, entries, cross, typical,
        t_error, U,
    )  # fmt: skip
    n_events = len(events[0])
    if n + len(placed[0]) > capacity or n_events > room[0].shape[1]:
        return 0, places, False
    _noted(room, events, step)
    places = _put_in(layer, step, places, behind, crossings, placed)
    _set(places.order, behind, crossings[2], placed[2])
    _rectify(layer, places, behind, t_error)
    return n_events, places, True


@nb.njit(**OPTIONS)
def _moved(layer: Any, order: Any, before: Any, behind: Any, bounds: Any) -> Any:
    """The linear layer on all rows.

    Returns:
        (Whether a unit is within its error of zero, how many units change sides in each cell).
    """
    live = np.empty(before.x.shape[1] + 1, np.int64)
    n_cross = np.zeros(len(order), np.int64)
    for r, p in enumerate(order):
        _row(layer, p, before, behind, bounds, live)
        z = behind.x[p]
        if behind.error[p] != 0.0 and _is_near(layer, z, bounds[0][p]):
            return True, n_cross
        if r:
            n_cross[r - 1] = _n_changes(behind.x[order[r - 1]], z)
    return False, n_cross


@nb.njit(**OPTIONS)
def _is_near(layer: Any, z: Any, error: Any) -> Any:
    """Whether an entry of a row is within its error of zero."""
    n, unit, floor = 0, layer.unit, layer.floor
    for j in range(len(z)):
        n += abs(z[j]) <= (error * unit[j] + floor[j]) * _SIDE_SLACK
    return n > 0


@nb.njit(**OPTIONS)
def _n_changes(here: Any, there: Any) -> Any:
    """How many units have different sides in two rows."""
    n = 0
    for j in range(len(here)):
        a, b = here[j], there[j]
        n += ((a < 0.0) & (b > 0.0)) | ((a > 0.0) & (b < 0.0))
    return n


@nb.njit(**OPTIONS)
def _changes(layer: Any, order: Any, z: Any, n_cross: Any) -> Any:
    """Cell and unit of each change of side, in the order of the segment."""
    cross = np.empty((2, n_cross.sum()), np.int64)
    k = 0
    for r in range(len(order) - 1):
        if n_cross[r]:
            here, there = z[order[r]], z[order[r + 1]]
            for j in range(layer.n_units):
                a, b = here[j], there[j]
                if (a < 0.0 and b > 0.0) or (a > 0.0 and b < 0.0):
                    cross[0, k], cross[1, k] = r, j
                    k += 1
    return cross


@nb.njit(**OPTIONS)
def _noted(room: Any, events: Any, step: Any) -> None:
    """Write events of one step to where there is room."""
    places, origin = room
    low, high, unit, left, right = events
    for i in range(len(low)):
        places[0, i], places[1, i] = low[i], high[i]
        origin[0, i], origin[1, i], origin[2, i], origin[3, i] = step, unit[i], left[i], right[i]


@nb.njit(**OPTIONS)
def _put_in(layer: Any, step: Any, places: Any, rows: Any, crossings: Any, placed: Any) -> Any:
    """Store a row for each new place, and say where; see `_state.Value.inserted`."""
    first, t, _, _ = placed
    cell, lam, which = crossings[0][first], crossings[1][first], crossings[2][first]
    order, n = places.order, len(places.t)
    before, behind = order[cell], order[cell + 1]
    size = np.empty(len(cell))
    for i in range(len(cell)):
        here, there, new = rows.x[before[i]], rows.x[behind[i]], rows.x[n + i]
        for j in range(len(here)):
            new[j] = here[j] + lam[i] * (there[j] - here[j])
        units = layer.n_units
        if i and before[i] == before[i - 1]:
            size[i] = size[i - 1]
        else:
            ends = compiled._square(here[:units]), compiled._square(there[:units])
            size[i] = np.sqrt(ends[0]) + np.sqrt(ends[1])
        rows.jump[n + i] = 0.0
        rows.jump_error[n + i] = 0.0
        places.is_own[n + i] = places.is_own[before[i]]
        places.step[n + i], places.unit[n + i] = step, which[i]
    added = compiled.between(rows.x, rows.error, (before, behind), lam, size, U)
    rows.error[n : n + len(cell)] = added
    order = loops.spread(order, n + np.arange(len(cell)), cell)
    t = loops.spread(places.t, t, cell)
    return Places(t, order, places.is_own, places.step, places.unit)


@nb.njit(**OPTIONS)
def _set(order: Any, rows: Any, unit: Any, row: Any) -> None:
    """Put units on their knots; by how much they moved is added to the error of their rows."""
    moved = np.zeros(len(order))
    for i in range(len(row)):
        p = order[row[i]]
        moved[p] += rows.x[p, unit[i]] ** 2
        rows.x[p, unit[i]] = 0.0
    for p in range(len(order)):
        rows.error[p] += np.sqrt(moved[p])


@nb.njit(**OPTIONS)
def _rectify(layer: Any, places: Any, rows: Any, t_error: Any) -> None:
    """The ReLU, in place: values, jumps, and those of units on their knots."""
    zero = _zeros(layer, places.order, rows.x)
    slopes = np.array([[0.0], [1.0]])
    made, bound = loops.knot_jumps(
        places.t,
        places.order,
        rows.x,
        rows.error,
        rows.jump,
        rows.jump_error,
        zero,
        slopes,
        0.0,
        t_error,
        U,
        1.0,
    )
    for p in range(len(places.t)):
        x, jump, n_on = rows.x[p], rows.jump[p], 0
        for j in range(len(x)):
            a, b = x[j], jump[j]  # both are read first, so that nothing branches
            x[j] = a if a > 0.0 else 0.0
            jump[j] = b if a > 0.0 else 0.0
            n_on += a > 0.0
        if n_on == 0:
            rows.jump_error[p] = 0.0
    for i in range(zero.shape[1]):
        r, p = zero[0, i], places.order[zero[0, i]]
        if 0 < r < len(places.t) - 1:
            rows.jump[p, zero[1, i]] = made[i]
        rows.jump_error[p] += bound[i]


@nb.njit(**OPTIONS)
def _zeros(layer: Any, order: Any, x: Any) -> Any:
    """Row along the segment, and unit, of each entry that is zero."""
    n_zeros = np.zeros(len(order), np.int64)
    for r, p in enumerate(order):
        here, n = x[p], 0
        for j in range(len(here)):
            n += here[j] == 0.0
        n_zeros[r] = n
    zero = np.empty((2, n_zeros.sum()), np.int64)
    k = 0
    for r in np.flatnonzero(n_zeros):
        here = x[order[r]]
        for j in range(layer.n_units):
            if here[j] == 0.0:
                zero[0, k], zero[1, k] = r, j
                k += 1
    return zero
