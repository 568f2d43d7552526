"""Places where a unit is so close to its knot that it may bend there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Intervals of the segment, one for each unit and place; outside of them its side is known.

    Attributes:
        low: Where each begins, in [0, 1].
        high: Where it ends.
        step: The step of the unit.
        unit: The unit; of a unit with several knots, its number times their number plus the knot.
        left: Known side before the interval: -1 or +1; 0 if it goes on into the next interval of
            the same unit, or to the end of the segment.
        right: Known side behind it.
        weight: How often the unit can bend there if all that it sees is affine.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    step: NDArray[np.int32]
    unit: NDArray[np.int64]
    left: NDArray[np.int8]
    right: NDArray[np.int8]
    weight: NDArray[np.int32]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.low)

    def chosen(self, which: NDArray[np.generic] | slice) -> Events:
        """Some of the events, by mask, by number or by slice."""
        return Events(*(getattr(self, each.name)[which] for each in fields(self)))


def joined(parts: list[Events]) -> Events:
    """Events of several chunks or steps in one."""
    if len(parts) == 1:
        return parts[0]
    parts = parts or [none()]
    return Events(
        *(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Events))
    )


def none() -> Events:
    """No events."""
    kinds = (float, float, np.int32, np.int64, np.int8, np.int8, np.int32)
    return Events(*(np.zeros(0, dtype=kind) for kind in kinds))


def connected(events: Events) -> Events:
    """Events of one unit that go on into each other, made one.

    A unit that stays near its knot over several rows, or across the border of two chunks, leaves an
    event for each; what happens between the first and the last of them is one question.
    """
    is_open = (events.left == 0) | (events.right == 0)
    if not is_open.any():
        return events
    whole, parts = events.chosen(~is_open), events.chosen(is_open)
    parts = parts.chosen(np.lexsort((parts.high, parts.low, parts.unit, parts.step)))
    follows = (
        (parts.step[1:] == parts.step[:-1])
        & (parts.unit[1:] == parts.unit[:-1])
        & (parts.right[:-1] == 0)
        & (parts.left[1:] == 0)
        & (parts.low[1:] <= parts.high[:-1])
    )
    begin = np.nonzero(np.append(True, ~follows))[0]
    end = np.append(begin[1:], len(parts)) - 1
    runs = Events(
        parts.low[begin],
        np.maximum.reduceat(parts.high, begin),
        parts.step[begin],
        parts.unit[begin],
        parts.left[begin],
        parts.right[end],
        np.maximum.reduceat(parts.weight, begin),
    )
    return joined([whole, runs])
