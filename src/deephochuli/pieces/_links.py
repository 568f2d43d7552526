"""Compiled: linear layers with a ReLU behind each, one after the other without a return.

What a layer does is in `_moves` and `_bend`, step by step. Here it is done row by row, and rows
stay where they are: a row that is put in is stored behind all others, and `order` says where the
rows along the segment are stored. `t` and numbers of cells are in the order of the segment,
everything else is in that of storing. A ReLU is applied when the next layer reads the row.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from deephochuli.pieces import _compiled as compiled
from deephochuli.pieces import _loops as loops
from deephochuli.pieces import _passes as passes
from deephochuli.pieces import _signs as signs
from deephochuli.pieces._loops import INNER, OPTIONS
from deephochuli.pieces._passes import U
from deephochuli.pieces._sparse import LANES

STEP, INPUTS, UNITS, FIRST, FACTOR, OFFSET, BACK = range(7)
"""Columns of a table of layers: what is a whole number."""
SPECTRAL, FROBENIUS, OFFSET_NORM, GAMMA, REACH, SHIFT, UNIT, FLOOR = range(8)
"""Columns of a table of layers: what is none."""
SPANS, MARKS, COUNTS = 4, 3, 7
"""Where columns of the room for rows begin that hold events: numbers, whole numbers; and those
that count units."""
_SLOPES = np.array([[0.0], [1.0]])
"""Slopes of a ReLU, before its knot and behind it."""


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
        most: The largest `unit`, the largest `floor`.
        back: The weights, not transposed, columns filled up, if the layer has any there.
    """

    weight: Any
    offset: Any
    unit: Any
    floor: Any
    size: Any
    n_units: Any
    norms: Any
    grain: Any
    most: Any
    back: Any


class Rows(NamedTuple):
    """Values and jumps of rows, and bounds on the 2-norm of the error of both.

    Both of jumps are None where these are not followed.

    Values behind the first layer of a chain are those before its ReLU; jumps too, but for those of
    units that are zero: they are the ones behind it.
    """

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


@nb.njit(**INNER)
def layer_of(tables: Any, i: Any) -> Any:
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
    wide = width_of(n)
    n_back = whole[i, UNITS] if whole[i, BACK] >= 0 else 0
    begin = max(whole[i, BACK], 0)
    back = numbers[begin : begin + n_back * wide].reshape((n_back, wide))
    return Layer(weight, *units, whole[i, UNITS], norms, grain, (of[UNIT], of[FLOOR]), back)


@nb.njit(error_model="numpy", **INNER)
def run(tables: Any, places: Any, rows: Any, room: Any, most_rows: Any, limits: Any) -> Any:
    """Do layers until the last, or until there are too many rows.

    Args:
        tables: Numbers of all layers: whole ones, others, and those of all columns.
        places: Where the rows are, in their order.
        rows: What is known at them.
        room: Memory for all rows there can be: two blocks for values, and jumps behind them;
            columns of numbers, shape (8, rows), and of whole numbers, shape (9, rows); words for
            the sides of units.
        most_rows: How many rows there may be before a layer.
        limits: `_crossings.TYPICAL` and `T_ERROR`.

    Returns:
        (Number of layers done, whether that was the last; the largest error of the outputs; of each
        bend, or before the next layer of each row: place, jump or error, and error of the jump;
        what `_origin` says of them; how many events are in the room).
    """
    blocks, columns, marks, words = room
    whole, spans, entries = tables[0], columns[SPANS : SPANS + 2], (columns[6], columns[7])
    places, counts, scratch = stored(places, marks[:MARKS]), marks[COUNTS:], scratch_of(whole)
    n_events = done = 0
    while done < len(whole) and len(places.t) <= most_rows:
        layer, one = layer_of(tables, done), done % 2
        x, jump = _halves(blocks[one], layer.weight.shape[1])
        moved = Rows(x, jump, columns[2 * one], columns[2 * one + 1])
        sides = _sides(words, columns.shape[1], layer)
        passes.move(layer, places.order, done > 0, rows, moved, entries, counts, sides, scratch)
        if whole[done, STEP] < 0:
            known, origin, worst = _ended(layer, places, moved)
            return done + 1, True, worst, known, origin, n_events
        more = spans[:, n_events:], marks[MARKS:COUNTS, n_events:]
        known = counts, entries, sides
        n, places = _bent(layer, whole[done, STEP], places, moved, known, more, limits)
        if n < 0:
            break
        rows, n_events, done = moved, n_events + n, done + 1
    if done:
        passes.rectify(rows.x, rows.jump, places.order)
    order = places.order
    known = places.t, rows.error[order], rows.jump_error[order]
    origin = origin_of(places, order)
    return done, False, 0.0, known, origin, n_events


@nb.njit(**INNER)
def scratch_of(whole: Any) -> Any:
    """Room for two rows of any layer."""
    widest = 0
    for i in range(len(whole)):
        widest = max(widest, whole[i, INPUTS], whole[i, UNITS])
    return passes.scratch(width_of(widest))


@nb.njit(**INNER)
def stored(places: Any, marks: Any) -> Any:
    """Places with room for more rows."""
    n = len(places.t)
    is_own, step, unit = marks[0], marks[1], marks[2]
    t, order, own, of_step, of_unit = places
    for p in range(n):  # not by slices: what could be wrong with their shapes takes long to compile
        is_own[p], step[p], unit[p] = own[p], of_step[p], of_unit[p]
    return Places(t, order, is_own, step, unit)


@nb.njit(**INNER)
def shaped(block: Any, width: Any) -> Any:
    """A block as rows."""
    n = len(block) // width
    return block[: n * width].reshape((n, width))


@nb.njit(**INNER)
def _halves(block: Any, width: Any) -> Any:
    """A block as rows and their jumps."""
    half = len(block) // 2
    return shaped(block[:half], width), shaped(block[half:], width)


@nb.njit(**INNER)
def _sides(words: Any, n: Any, layer: Any) -> Any:
    """Room for which units of n rows are above zero, and which are below."""
    each = signs.words_of(layer.weight.shape[1])
    both = words[: 2 * n * each].reshape((2, n, each))
    return both[0], both[1]


@nb.njit(**INNER)
def origin_of(places: Any, which: Any) -> Any:
    """Step and unit of some stored rows, whether they are own ones, and where they are stored."""
    origin, (_, _, is_own, step, unit) = np.empty((4, len(which)), np.int32), places
    for i, p in enumerate(which):
        origin[0, i], origin[1, i], origin[2, i], origin[3, i] = step[p], unit[p], is_own[p], p
    return origin


@nb.njit(error_model="numpy", **INNER)
def _ended(layer: Any, places: Any, rows: Any) -> Any:
    """Behind the last layer, which has no ReLU.

    Returns:
        (Place, jump of the outputs and its error of each bend; its origin; the largest error).
    """
    (where, order, is_own, step, _), (_, jumps, error, bound) = places, rows
    n = len(where)
    t, jump, jump_error, bends = np.empty(n), np.empty(n), np.empty(n), np.empty(n, np.int64)
    k, worst = 0, 0.0
    for r, p in enumerate(order):
        worst = max(worst, error[p])
        if is_own[p] and step[p] >= 0:
            t[k], jump[k], jump_error[k], bends[k] = where[r], 0.0, bound[p], p
            for j in range(layer.n_units):
                jump[k] = max(jump[k], abs(jumps[p, j]))
            k += 1
    return (t[:k], jump[:k], jump_error[:k]), origin_of(places, bends[:k]), worst


@nb.njit(error_model="numpy", **INNER)
def _bent(layer: Any, step: Any, places: Any, rows: Any, known: Any, room: Any, limits: Any) -> Any:
    """The ReLU behind a layer: rows put in where units cross zero, events, jumps.

    Returns:
        (Number of events, -1 if there is no room for all; the places with the new rows).
    """
    n_events, _, places, is_touched = parted(layer, step, places, rows, known, room, limits)
    if n_events < 0:
        return -1, places
    order, z, is_on, t_error = places.order, rows.x, known[0][0], limits[1]
    zero = passes.zeros(order, is_touched, rows.error, z, layer.n_units, is_on)
    passes.switch_off(order, is_on, rows.jump_error)
    if zero.shape[1]:
        columns = z, rows.error, rows.jump, rows.jump_error
        made, bound = loops.knot_jumps(places.t, order, *columns, zero, _SLOPES, 0.0, t_error, U, 1)
        passes.put_jumps(order, zero, made, bound, rows.jump, rows.jump_error)
    return n_events, places


@nb.njit(error_model="numpy", **INNER)
def parted(
    layer: Any, step: Any, places: Any, rows: Any, known: Any, room: Any, limits: Any
) -> Any:
    """Rows put in where units of a layer cross zero, and the events.

    Args:
        layer: The layer.
        step: Step of its ReLU.
        places: Where the rows are.
        rows: What is known at them behind the layer.
        known: What `passes.move` wrote: counts, bounds of single entries, sides.
        room: For events: where they begin and end; step, unit, sides.
        limits: See `run`.

    Returns:
        (Number of events, -1 if there is no room for all; that of crossings; the places with the
        new rows; for each row, as they are stored, whether it is new or was changed).
    """
    (counts, entries, sides), n, (typical, t_error) = known, len(places.t), limits
    order, z, error = places.order, rows.x, rows.error[:n]
    bounds = entries[0], layer.unit, layer.floor, entries[1], layer.size
    near, cross = passes.nears(order, counts[1], z, bounds), signs.changes(order, *sides)
    n_events, is_touched = near.shape[1] + cross.shape[1], np.zeros(n, np.bool_)
    if n_events > room[0].shape[1]:
        return -1, 0, places, is_touched
    if not n_events:  # deep in a net it is so for most layers
        return 0, 0, places, is_touched
    n_events = _note(near, cross, step, places, rows, bounds, room, t_error)
    is_touched = passes.snap(near, order, z, error, bounds, typical)
    crossings, placed = compiled.placed(places.t, order, z, error, bounds, cross, typical)
    if n + len(placed[0]) > min(len(z), len(rows.error)):
        return -1, 0, places, is_touched
    places = _put_in(step, places, rows, crossings, placed)
    is_touched = _set(places.order, rows, crossings[2], placed[2], is_touched)
    return n_events, len(crossings[0]), places, is_touched


@nb.njit(**INNER)
def _note(
    near: Any, cross: Any, step: Any, places: Any, rows: Any, bounds: Any, room: Any, t_error: Any
) -> Any:
    """Write down where sides change, and where they are not known; return how many these are."""
    (spans, marks), (t, order, is_own, _, _) = room, places
    z, error, (row, unit, floor, _, _) = rows.x, rows.error, bounds
    n = 0
    for i in range(cross.shape[1]):
        r, j = cross[0, i], cross[1, i]
        here, there = order[r], order[r + 1]
        if not is_own[here]:
            continue
        a, error_a = z[here, j], passes.error_at(here, j, error, row, unit, floor)
        b, error_b = z[there, j], passes.error_at(there, j, error, row, unit, floor)
        if abs(a) > error_a and abs(b) > error_b:
            worst = max(error_a, error_b)
            spans[0, n], spans[1, n] = loops.span(a, b, worst, t[r], t[r + 1], t_error)
            marks[0, n], marks[1, n], marks[2, n], marks[3, n] = step, j, np.sign(a), np.sign(b)
            n += 1
    if not near.shape[1]:
        return n
    own = near[:, is_own[order[near[0]]] != 0]
    low, high, which, left, right = passes.unclear(own, t, order, z, error, bounds, t_error)
    for i in range(len(low)):
        spans[0, n], spans[1, n] = low[i], high[i]
        marks[0, n], marks[1, n], marks[2, n], marks[3, n] = step, which[i], left[i], right[i]
        n += 1
    return n


@nb.njit(**INNER)
def _put_in(step: Any, places: Any, rows: Any, crossings: Any, placed: Any) -> Any:
    """Store a row for each new place, and say where; see `_state.Value.inserted`."""
    (first, between, _, _), (cell, lam, which, _) = placed, crossings
    (x, jump, error, jump_error), (before, stored, is_own, of_step, of_unit) = rows, places
    n, most, k = len(before), len(first), 0
    t, order = np.empty(n + most), np.empty(n + most, np.int64)
    for r in range(n):
        here = stored[r]
        t[r + k], order[r + k] = before[r], here
        if k == most or cell[first[k]] != r:
            continue
        there = stored[r + 1]
        size = passes.size_of(x, here, there)
        while k < most and cell[first[k]] == r:
            i, p = first[k], n + k
            passes.interpolate(x, here, there, lam[i], p)
            passes.no_jump(jump, jump_error, p)
            error[p] = compiled.error_between(x, error, here, there, lam, i, size, U)
            is_own[p], of_step[p], of_unit[p] = is_own[here], step, which[i]
            t[r + k + 1], order[r + k + 1] = between[k], p
            k += 1
    return Places(t, order, is_own, of_step, of_unit)


@nb.njit(**INNER)
def _set(order: Any, rows: Any, unit: Any, row: Any, is_touched: Any) -> Any:
    """Put units on their knots; by how much they moved is added to the error of their rows.

    Returns:
        Whether that, or something else, changed a row; for each as they are stored.
    """
    moved, is_changed = np.zeros(len(order)), np.ones(len(order), np.bool_)
    x, error = rows.x, rows.error
    for p in range(len(is_touched)):
        is_changed[p] = is_touched[p]
    for i in range(len(row)):
        p = order[row[i]]
        moved[p] += x[p, unit[i]] ** 2
        x[p, unit[i]] = 0.0
        is_changed[p] = True
    for p in range(len(order)):
        error[p] += np.sqrt(moved[p])
    return is_changed
