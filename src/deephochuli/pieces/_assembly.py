"""From what a walk found and what can be known of it to bends and counts.

Chunks come from left to right. What lies so far to the left that no later chunk can add to it is
decided at once, and its events are forgotten: they take more memory than the bends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces import _alone as alone
from deephochuli.pieces._certificate import Clusters, clusters
from deephochuli.pieces._crossings import T_ERROR
from deephochuli.pieces._result import Interval
from deephochuli.pieces._walk import Trail, together

Column = NDArray[np.float64]
_WIDE = 2.0**-43
"""Gaps wider than this are wider than what the places of all rows err by together."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Bends, ascending, and the places where more could be.

    Attributes:
        t: Place of each bend.
        step: Step of its unit.
        unit: Its unit.
        jump: Change of the slope of the outputs at each.
        is_bend: Whether the function bends, as float64 sees it.
        regions: What the number of regions can be.
        pieces: What the number of pieces can be.
        open_low: Where each place begins that could not be decided.
        open_high: Where it ends.
        clear: Places near which nothing bends, between clusters that are far enough apart; once all
            parts are joined, with both ends of the segment.
        max_error: Largest bound on the error of the outputs.
        n_exact: Places that were decided exactly.
    """

    t: Column
    step: NDArray[np.int32]
    unit: NDArray[np.int32]
    jump: Column
    is_bend: NDArray[np.bool_]
    regions: Interval
    pieces: Interval
    open_low: Column
    open_high: Column
    clear: Column
    max_error: float
    n_exact: int = 0


def parts(trails: Iterable[Trail]) -> Iterator[Found]:
    """Bends and counts of one part of the segment after the other, as a walk goes on."""
    held: Trail | None = None
    reached = np.inf  # the end of the last cluster
    for trail in trails:
        held = trail if held is None else together(held, trail)
        done, held = _parted(held)
        if done is not None:
            found, reached = _found(done, reached)
            yield found


def _found(trail: Trail, reached: float) -> tuple[Found, float]:
    """What is known of one part, and where its last cluster ends."""
    it = trail.events
    sides = it.left, it.right, it.weight
    is_alone, begin, end = alone.matched(trail.t, it.low, it.high, *sides)
    if is_alone:
        return _apart(trail, begin, end, reached), float(end[-1]) if len(end) else reached
    known = clusters(it)
    found = replace(assembled(trail, known), clear=_clear_places(known, reached))
    return found, float(known.high[-1]) if len(known.high) else reached


def _apart(trail: Trail, begin: Column, end: Column, reached: float) -> Found:
    """What is known where every bend has an event of its own, which touches no other."""
    judged = alone.judged(trail.jump, trail.jump_error, begin, end, reached, _WIDE)
    is_bend, is_open, clear = judged
    n, least = len(is_bend), int(is_bend.sum())
    n_open = int(is_open.sum())
    return Found(
        trail.t,
        trail.step,
        trail.unit,
        trail.jump,
        is_bend,
        Interval(n + 1, n + 1),
        Interval(least + 1, least + n_open + 1),
        begin[is_open],
        end[is_open],
        clear,
        trail.error,
    )


def joined(found: Iterable[Found]) -> Found:
    """All parts in one."""
    each = list(found)
    if len(each) == 1:
        return replace(each[0], clear=_with_ends(each[0].clear))

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in each])

    regions, pieces = each[0].regions, each[0].pieces
    for part in each[1:]:
        regions, pieces = regions.beside(part.regions), pieces.beside(part.pieces)
    return Found(
        t=column("t"),
        step=column("step"),
        unit=column("unit"),
        jump=column("jump"),
        is_bend=column("is_bend"),
        regions=regions,
        pieces=pieces,
        open_low=column("open_low"),
        open_high=column("open_high"),
        clear=_with_ends(column("clear")),
        max_error=max(part.max_error for part in each),
    )


def _with_ends(places: Column) -> Column:
    return np.concatenate([[0.0], places, [1.0]])


def _parted(trail: Trail) -> tuple[Trail | None, Trail | None]:
    """What no later chunk can add to, and the rest."""
    if trail.until == np.inf:
        return trail, None
    events = trail.events.chosen(np.argsort(trail.events.low, kind="stable"))
    reach = np.maximum.accumulate(events.high)
    ends = np.nonzero(events.low[1:] > reach[:-1])[0]
    ends = ends[reach[ends] < trail.until - 2 * T_ERROR]
    if not len(ends):
        return None, trail
    n = int(ends[-1]) + 1
    k = int(
        np.searchsorted(trail.t, float(events.low[n]))
    )  # bends belong to what begins before them
    rest = trail.part(slice(k, None), events.chosen(slice(n, None)))
    return trail.part(slice(0, k), events.chosen(slice(0, n))), rest


def assembled(trail: Trail, known: Clusters) -> Found:
    """Bends of the model that can be true ones, and both counts as intervals.

    Where a cluster is decided, the model's bends in it beyond the known number are dropped: they
    are rounding errors. A bend that is alone reaches the output if its jump there exceeds the bound
    on its error, and does not if both are zero; otherwise that is open too.
    """
    cluster = np.maximum(np.searchsorted(known.low, trail.t, side="right") - 1, 0)
    sure = known.is_sure
    if len(trail.t):
        first = np.searchsorted(cluster, cluster, side="left")
        rank = np.arange(len(cluster)) - first
        kept = ~sure[cluster] | (rank < known.most[cluster])
    else:
        kept = np.zeros(0, dtype=bool)
    jump, bound, cluster = trail.jump[kept], trail.jump_error[kept], cluster[kept]
    bends, is_flat = jump > bound, (jump == 0) & (bound == 0)
    alone = sure[cluster]
    n_bends = np.bincount(cluster[alone & bends], minlength=len(sure))
    n_flat = np.bincount(cluster[alone & is_flat], minlength=len(sure))
    least = np.where(sure, n_bends, 0.0)
    most = np.where(sure, known.most - n_flat, known.most)
    is_open = ~sure | (least != most)
    return Found(
        trail.t[kept],
        trail.step[kept],
        trail.unit[kept],
        jump,
        bends,
        _interval(known.least, known.most),
        _interval(least, most),
        known.low[is_open],
        known.high[is_open],
        _clear_places(known, np.inf),
        trail.error,
    )


def _interval(least: Column, most: Column) -> Interval:
    high = float(most.sum()) + 1
    return Interval(int(least.sum()) + 1, int(high) if np.isfinite(high) else high)


def _clear_places(known: Clusters, reached: float) -> Column:
    """The middle of every gap before a cluster that is no rounding error."""
    before = np.concatenate([[reached], known.high[:-1]])[: len(known.low)]
    middles = 0.5 * (before + known.low)
    return middles[known.low - before > _WIDE]
