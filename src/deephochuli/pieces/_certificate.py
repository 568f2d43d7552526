"""What can be known from events: how many bends there are at least and at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._events import Events, connected


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Intervals of the segment outside of which nothing bends, disjoint and ascending.

    Attributes:
        low: Where each begins.
        high: Where it ends.
        least: How many different bends it holds at least.
        most: And at most.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]

    @property
    def is_sure(self) -> NDArray[np.bool_]:
        """Where both numbers are the same."""
        return self.least == self.most


def clusters(events: Events) -> Clusters:
    """Join events that overlap, and count the bends of each group.

    An event that overlaps with no other is of a unit that sees an affine function there: if its
    side differs before and behind, it bends exactly once, else not at all. In a group, each bend of
    an earlier step may let every unit of a later one bend once more.

    Numerics:
        Counts up to 2^53 are exact; beyond that they are rounded, and infinite where they overflow.
    """
    events = connected(events)
    order = np.lexsort((events.step, events.low))
    events = events.chosen(order)
    if not len(events):
        nothing = np.zeros(0)
        return Clusters(nothing, nothing, nothing, nothing)
    reach = np.maximum.accumulate(events.high)
    begin = np.nonzero(np.append(True, events.low[1:] > reach[:-1]))[0]
    end = np.append(begin[1:], len(events))
    least, most = _of_single(events.chosen(begin))
    for i in np.flatnonzero(end - begin > 1).tolist():
        least[i], most[i] = _of_group(events.chosen(np.arange(int(begin[i]), int(end[i]))))
    return Clusters(events.low[begin], reach[end - 1], least, most)


def _of_single(events: Events) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    crosses = (events.left * events.right == -1) & (events.weight == 1)
    is_open = (events.left == 0) | (events.right == 0)
    most = np.where(crosses, 1, np.where(is_open, events.weight, 0))
    return crosses.astype(np.float64), most.astype(np.float64)


def _of_group(events: Events) -> tuple[float, float]:
    crosses = events.left * events.right == -1
    is_open = (events.left == 0) | (events.right == 0)
    n_cells = 1.0
    for step in np.unique(events.step):
        here = events.step == step
        may = here & (crosses | is_open | (n_cells > 1))
        n_cells += n_cells * float(events.weight[may].sum())
    return float(_n_disjoint(events.low[crosses], events.high[crosses])), n_cells - 1


def _n_disjoint(low: NDArray[np.float64], high: NDArray[np.float64]) -> int:
    """The most intervals that can be chosen without two of them touching."""
    n, last = 0, -np.inf
    for i in np.argsort(high, kind="stable"):
        if low[i] > last:
            n, last = n + 1, high[i]
    return n
