"""Compiled: the layers of a chain with one output, without following the jumps of slopes.

What `_links` does for all segments, this does for most of them, with half of the products: where
each bend has a row of its own. The jumps are found afterwards, see `_back`. Where bends coincide or
rows are exact, jumps have to be followed: that is left to `_links`.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.pieces import _alone as alone
from deephochuli.pieces import _back as back
from deephochuli.pieces import _links as links
from deephochuli.pieces import _passes as passes
from deephochuli.pieces import _signs as signs
from deephochuli.pieces._links import COUNTS, MARKS, SPANS, STEP, UNITS
from deephochuli.pieces._loops import INNER

SLOPE = 1
"""Column of the room for rows where the change of the slope of the unit that made each is kept."""
_STEPS = 2
"""Steps of a layer and its ReLU."""


@nb.njit(error_model="numpy", **INNER)
def run(tables: Any, places: Any, rows: Any, room: Any, limits: Any) -> Any:
    """Do all layers of a chain whose last one has one unit.

    Args:
        tables: See `_links.run`; like all others.
        places: Where the rows are; both ends of a segment.
        rows: What is known at them, without jumps: these are zero.
        room: Memory.
        limits: `_crossings.TYPICAL` and `T_ERROR`.

    Returns:
        What `_links.run` returns of a segment that was done to the end; with 0 layers done where
        jumps have to be followed.
    """
    whole, desk = tables[0], _desk(tables[0], room)
    done, places, rows, n_events = _parted(tables, places, rows, room, desk, limits)
    bends = places.order[1:-1]
    origin = links.origin_of(places, bends)
    if whole[done, STEP] >= 0:
        nothing = np.empty(0)
        return 0, True, 0.0, (nothing, nothing, nothing), origin, 0
    _, ended, _ = _moved(tables, done, places.order, rows, room, desk)
    worst = 0.0
    for p in range(len(places.t)):
        worst = max(worst, ended.error[p])
    jump, bound, is_sure = _jumps(tables, places, bends, room, desk)
    known = places.t[1:-1].copy(), jump, bound
    return len(whole) if is_sure else 0, True, worst, known, origin, n_events


@nb.njit(**INNER)
def _desk(whole: Any, room: Any) -> Any:
    """What one segment needs of the room, beside rows: for sides, and `_passes.scratch`."""
    return _sides(room[3], whole, room[1].shape[1]), links.scratch_of(whole)


@nb.njit(error_model="numpy", **INNER)
def _parted(tables: Any, places: Any, rows: Any, room: Any, desk: Any, limits: Any) -> Any:
    """Do layers up to the last, or to one behind which jumps would have to be followed.

    Returns:
        (How many were done; where the rows are; what is known at them; number of events).
    """
    _, columns, marks, _ = room
    whole, spans, sides = tables[0], columns[SPANS : SPANS + 2], desk[0]
    places = links.stored(places, marks[:MARKS])
    n_events = done = 0
    while whole[done, STEP] >= 0 and _will_fit(len(places.t), done, sides):
        layer, moved, known = _moved(tables, done, places.order, rows, room, desk)
        more, n = (spans[:, n_events:], marks[MARKS:COUNTS, n_events:]), len(places.t)
        n_more, n_crossings, places, is_touched = links.parted(
            layer, whole[done, STEP], places, moved, known, more, limits
        )
        is_each_alone = n_crossings == len(places.t) - n == is_touched.sum()
        if n_more < 0 or not is_each_alone or not _slopes(layer, places, moved, n, columns[SLOPE]):
            break
        rows, n_events, done = moved, n_events + n_more, done + 1
    return done, places, rows, n_events


@nb.njit(error_model="numpy", **INNER)
def _moved(tables: Any, done: Any, order: Any, rows: Any, room: Any, desk: Any) -> Any:
    """The rows behind the next layer; the layer before, and what `links.parted` has to know."""
    (blocks, columns, marks, _), (sides, scratch) = room, desk
    layer = links.layer_of(tables, done)
    moved = _room(blocks, columns, layer, tables[0], done, sides.shape[1])
    counts, entries = marks[COUNTS:], (columns[6], columns[7])
    on = sides[done], sides[len(tables[0])]
    passes.move(layer, order, done > 0, rows, moved, entries, counts, on, scratch)
    return layer, moved, (counts, entries, on)


@nb.njit(error_model="numpy", **INNER)
def _jumps(tables: Any, places: Any, bends: Any, room: Any, desk: Any) -> Any:
    """Jumps of the output, bounds on their errors, and whether they decide about each bend."""
    (now, then), columns, _, _ = room
    layer, (sides, scratch) = places.step, desk
    for p in range(len(places.t)):
        layer[p] = (layer[p] - tables[0][0, STEP]) // _STEPS
    origin, rooms = (layer, places.unit), (now, then, scratch)
    jump, bound, is_sure = back.jumps(tables, bends, origin, columns[SLOPE], sides, rooms)
    for i in range(len(jump)):
        _, is_open = alone.judge(jump[i], bound[i])
        is_sure &= not is_open
    return jump, bound, is_sure


@nb.njit(**INNER)
def _will_fit(n: Any, done: Any, sides: Any) -> Any:
    """Whether there will be room for all rows, if each layer adds as many as those before."""
    n_layers = len(sides) - 2
    return n * n_layers <= sides.shape[1] * max(done, 1)


@nb.njit(**INNER)
def _sides(words: Any, whole: Any, n: Any) -> Any:
    """Room for the sides of units: above zero, for each layer; below it, behind these."""
    widest = 0
    for i in range(len(whole)):
        widest = max(widest, whole[i, UNITS])
    n_layers, each = len(whole) + 1, signs.words_of(links.width_of(widest))
    n = min(n, len(words) // (n_layers * each))
    return words[: n_layers * n * each].reshape((n_layers, n, each))


@nb.njit(**INNER)
def _room(blocks: Any, columns: Any, layer: Any, whole: Any, done: Any, most: Any) -> Any:
    """Room for the rows behind a layer, of which there may be so many.

    It is the same as that of the rows before, if these are as wide: so more of them stay in the
    cache.
    """
    one = 0
    for i in range(1, done + 1):
        one ^= links.width_of(whole[i, UNITS]) != links.width_of(whole[i - 1, UNITS])
    x, error = links.shaped(blocks[one], layer.weight.shape[1]), columns[2 * one, :most]
    return links.Rows(x, None, error, None)


@nb.njit(error_model="numpy", **INNER)
def _slopes(layer: Any, places: Any, rows: Any, n: Any, size: Any) -> Any:
    """Write how much the slopes of units change at the rows that were put in behind n others.

    Returns:
        Whether each of these rows is made by one unit alone, none is exact, and none at an end.
    """
    (t, order, _, _, unit), (z, _, error, _) = places, rows
    for r in range(1, len(order) - 1):
        p = order[r]
        if p < n:
            continue
        j = unit[p]
        left, right = z[order[r - 1], j], z[order[r + 1], j]
        is_alone = z[p, j] == 0.0 and passes.n_zeros(z, p, layer.n_units) == 1
        if not is_alone or error[p] == 0.0 or left * right >= 0.0:
            return False
        size[p] = abs((right - left) / (t[r + 1] - t[r - 1]))
    return True
