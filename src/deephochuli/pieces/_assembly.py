"""From what a walk found and what can be known of it to bends and counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._certificate import Clusters
from deephochuli.pieces._result import Interval
from deephochuli.pieces._walk import Trail

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
        clear: Places near which nothing bends, between clusters that are far enough apart.
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
        _clear_places(known),
        trail.error,
    )


def _interval(least: Column, most: Column) -> Interval:
    high = float(most.sum()) + 1
    return Interval(int(least.sum()) + 1, int(high) if np.isfinite(high) else high)


def _clear_places(known: Clusters) -> Column:
    """The middle of every gap between clusters that is no rounding error, and both ends."""
    low, high = known.high[:-1], known.low[1:]
    middles = 0.5 * (low + high)
    return np.concatenate([[0.0], middles[high - low > _WIDE], [1.0]])
