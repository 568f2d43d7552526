"""The two time axes of a report: fine columns for curves, coarse bins for histograms.

A recorded step falls into exactly one column and one bin. Where there are fewer recorded steps than
places, each step has its own and nothing is thinned; the page says which is the case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Consecutive groups of recorded steps.

    Attributes:
        first: First recorded step of each group, increasing.
        last: Last recorded step of each group.
        n: Number of recorded steps in each group.
    """

    first: Ints
    last: Ints
    n: Ints

    def __len__(self) -> int:
        """Number of groups."""
        return int(self.first.size)

    def place(self, steps: Ints) -> Ints:
        """Group of each step (of the last group that starts at or before it)."""
        return np.clip(np.searchsorted(self.first, steps, side="right") - 1, 0, None)

    def as_payload(self) -> dict[str, list[int]]:
        """The three lists that the page reads."""
        return {name: getattr(self, name).tolist() for name in ("first", "last", "n")}


def divide(starts: Ints, ends: Ints, steps: Ints, most: int) -> Timeline:
    """Group consecutive spans of steps into at most `most` groups of nearly equal length.

    Args:
        starts: First step of each span, increasing: a recorded step, or a chunk of them.
        ends: Last step of each span.
        steps: All recorded steps, increasing.
        most: Largest number of groups.
    """
    n_groups = min(most, starts.size)
    edges = (np.arange(n_groups + 1) * starts.size) // max(1, n_groups)
    first, last = starts[edges[:-1]], ends[edges[1:] - 1]
    inside = np.searchsorted(steps, last, side="right") - np.searchsorted(steps, first)
    return Timeline(first, last, inside.astype(np.int64))
