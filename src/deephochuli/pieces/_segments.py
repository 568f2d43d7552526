"""Compiled: the layers of a chain on one segment after the other, in one call.

What is found on all of them is written behind each other into columns, which are made longer when
they are full: a call returns few arrays, however many segments there were.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np

from deephochuli.pieces import _alone as alone
from deephochuli.pieces import _links as links
from deephochuli.pieces import _values as values
from deephochuli.pieces._loops import INNER, OPTIONS

DONE, IS_LAST, IS_JUDGED, N_BENDS, N_OPEN, BENDS, EVENTS = range(7)
"""Columns of what is said of each segment: how many layers were done, and whether these were all;
whether there is nothing more to decide; how many of its bends reach the output, and how many may or
may not; how many bends and events there are up to its end, on all segments."""


class Columns(NamedTuple):
    """What was found, one column a bend or an event; more columns than are filled.

    Attributes:
        numbers: Of each bend: place, jump of the outputs, its error. Of each row of a segment that
            was not done to the end: place, error, error of the jump.
        origins: Where each is from: step and unit. Of each bend that is judged, whether it reaches
            the output, and whether that is open; of each row, whether it is an own one, and where
            it is stored.
        spans: Where each event begins and ends; only of segments on which there is more to decide.
        steps: Step of each event, and its weight.
        units: Its unit.
        sides: The sides before and behind.
    """

    numbers: Any
    origins: Any
    spans: Any
    steps: Any
    units: Any
    sides: Any


@nb.njit(error_model="numpy", **OPTIONS)
def run(
    tables: Any, first: Any, places: Any, rows: Any, room: Any, most_rows: Any, limits: Any,
    judges: Any,
) -> Any:  # fmt: skip
    """Do layers on all segments, up to the first one with too many rows.

    Args:
        tables: See `_links.run`; like all others but `first`.
        first: Where the rows of each segment begin, and the number of all rows.
        places: Where the rows are; `order` counts from the first row of each segment.
        rows: What is known at them.
        room: Memory for all rows there can be of one segment.
        most_rows: How many rows a segment may have before a layer.
        limits: `_crossings.TYPICAL` and `T_ERROR`.
        judges: Whether to judge bends that are alone, and whether also where that leaves some open.

    Returns:
        (How many segments were looked at; what is known of each; the largest error of the outputs
        of each; columns).
    """
    facts, worst, columns = _begun(len(first) - 1)
    k, is_last = 0, True
    while k < len(facts) and is_last:
        begin, end = first[k], first[k + 1]
        jump, jump_error = rows.jump[begin:end], rows.jump_error[begin:end]
        there = links.Rows(rows.x[begin:end], jump, rows.error[begin:end], jump_error)
        here = _places(places, begin, end)
        found = links.run(tables, here, there, room, most_rows, limits)
        columns, is_last = _noted(facts, worst, columns, k, found, room, judges), found[1]
        k += 1
    return k, facts, worst, columns


@nb.njit(error_model="numpy", **OPTIONS)
def run_values(
    tables: Any, first: Any, places: Any, rows: Any, room: Any, limits: Any, judges: Any
) -> Any:
    """The same for chains with one output, by `_values`, which leaves some segments undone.

    `rows` are without jumps, which are zero.
    """
    facts, worst, columns = _begun(len(first) - 1)
    for k in range(len(facts)):
        begin, end = first[k], first[k + 1]
        there = links.Rows(rows.x[begin:end], None, rows.error[begin:end], None)
        here = _places(places, begin, end)
        found = values.run(tables, here, there, room, limits)
        columns = _noted(facts, worst, columns, k, found, room, judges)
    return len(facts), facts, worst, columns


@nb.njit(**INNER)
def _begun(n: Any) -> Any:
    """What is known of n segments before the first one."""
    columns = Columns(
        np.empty((3, 0)), np.empty((4, 0), np.int32), np.empty((2, 0)), np.empty((2, 0), np.int32),
        np.empty((1, 0), np.int64), np.empty((2, 0), np.int8),
    )  # fmt: skip
    return np.zeros((n, 7), np.int64), np.zeros(n), columns


@nb.njit(**INNER)
def _places(places: Any, begin: Any, end: Any) -> Any:
    """Where the rows of one segment are."""
    t, order, is_own, step, unit = places
    more = is_own[begin:end], step[begin:end], unit[begin:end]
    return links.Places(t[begin:end], order[begin:end], *more)


@nb.njit(**INNER)
def _noted(facts: Any, worst: Any, columns: Any, k: Any, found: Any, room: Any, judges: Any) -> Any:
    """Write down what was found on segment k; return the columns."""
    done, is_last, worst[k], known, origin, seen = found
    facts[k, DONE], facts[k, IS_LAST] = done, is_last
    if done and is_last and judges[0]:
        _judge(facts[k], known, origin, room, seen, judges[1])
        seen = 0 if facts[k, IS_JUDGED] else seen
    n_bends, n_events = (facts[k - 1, BENDS], facts[k - 1, EVENTS]) if k else (0, 0)
    facts[k, BENDS], facts[k, EVENTS] = n_bends + len(known[0]), n_events + seen
    columns = _longer(columns, facts[k, BENDS], facts[k, EVENTS])
    _write_bends(columns, n_bends, known, origin)
    _write_events(columns, n_events, room, seen)
    return columns


@nb.njit(**INNER)
def _judge(facts: Any, known: Any, origin: Any, room: Any, n_seen: Any, takes_open: Any) -> None:
    """Judge bends that are far from each other, one for each event; see `_alone`."""
    (_, spans, marks, _), (t, jump, bound) = room, known
    low, high = spans[links.SPANS, :n_seen], spans[links.SPANS + 1, :n_seen]
    left, right = marks[links.MARKS + 2, :n_seen], marks[links.MARKS + 3, :n_seen]
    is_alone, _, _ = alone.matched(t, low, high, left, right, np.ones(n_seen, np.int32))
    if not is_alone:
        return
    for i in range(len(t)):
        is_bend, is_open = alone.judge(jump[i], bound[i])
        origin[2, i], origin[3, i] = is_bend, is_open
        facts[N_BENDS] += is_bend
        facts[N_OPEN] += is_open
    facts[IS_JUDGED] = takes_open or facts[N_OPEN] == 0


@nb.njit(**INNER)
def _longer(columns: Any, n_bends: Any, n_events: Any) -> Any:
    """Columns with room for so many."""
    return Columns(
        _grown(columns.numbers, n_bends), _grown(columns.origins, n_bends),
        _grown(columns.spans, n_events), _grown(columns.steps, n_events),
        _grown(columns.units, n_events), _grown(columns.sides, n_events),
    )  # fmt: skip


@nb.njit(**INNER)
def _grown(columns: Any, n: Any) -> Any:
    """The same, or a copy with n columns or more; the first time as many as asked for."""
    before = columns.shape[1]
    if n <= before:
        return columns
    longer = np.empty((columns.shape[0], max(n, 2 * before)), columns.dtype)
    for i in range(columns.shape[0]):
        for j in range(before):
            longer[i, j] = columns[i, j]
    return longer


@nb.njit(**INNER)
def _write_bends(columns: Any, n: Any, known: Any, origin: Any) -> None:
    """Write bends behind n others."""
    numbers, origins = columns.numbers, columns.origins
    t, size, error = known
    for i in range(len(t)):
        numbers[0, n + i], numbers[1, n + i], numbers[2, n + i] = t[i], size[i], error[i]
        for k in range(4):
            origins[k, n + i] = origin[k, i]


@nb.njit(**INNER)
def _write_events(columns: Any, n: Any, room: Any, n_seen: Any) -> None:
    """Write the events that a segment left in its room behind n others."""
    (_, low_high, marks, _), spans, sides = room, columns.spans, columns.sides
    for i in range(n_seen):
        k = n + i
        spans[0, k] = low_high[links.SPANS, i]
        spans[1, k] = low_high[links.SPANS + 1, i]
        columns.steps[0, k], columns.steps[1, k] = marks[links.MARKS, i], 1
        columns.units[0, k] = marks[links.MARKS + 1, i]
        sides[0, k], sides[1, k] = marks[links.MARKS + 2, i], marks[links.MARKS + 3, i]
