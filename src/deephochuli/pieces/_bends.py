"""Piecewise linear maps of a program: functions of one number, and the largest of several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from deephochuli.pieces._affine import Rows


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A continuous piecewise linear function of one number, applied to every entry.

    Attributes:
        knots: Where it bends, increasing, shape (K,).
        slopes: Its slope before, between and behind the knots, shape (K + 1, numel) or (K + 1, 1).
        start: Its value at the first knot.
        size: Number of entries.
    """

    knots: NDArray[np.float64]
    slopes: NDArray[np.float64]
    start: float
    size: int

    @cached_property
    def is_relu(self) -> bool:
        """Whether it is max(z, 0)."""
        slopes = self.slopes
        return (
            len(self.knots) == 1
            and self.knots[0] == 0
            and self.start == 0
            and bool((slopes[0] == 0).all() and (slopes[1] == 1).all())
        )

    def apply(self, z: Rows) -> Rows:
        """The function, row by row.

        Numerics:
            Two roundings for each knot at most; for ReLU, and for slopes 0, 1 and -1 with a knot
            at zero, none.
        """
        if self.is_relu:
            return np.maximum(z, 0.0)
        y = self.start + self.slopes[0] * np.minimum(z - self.knots[0], 0.0)
        for k, slope in enumerate(self.slopes[1:]):
            beyond = np.maximum(z - self.knots[k], 0.0)
            if k + 1 < len(self.knots):
                beyond = np.minimum(beyond, self.knots[k + 1] - self.knots[k])
            y = y + slope * beyond
        return y


@dataclass(frozen=True, eq=False)
class Maximum:
    """The largest of some entries: max-pooling, maxout.

    Attributes:
        index: Shape (outputs, most candidates): places in the input; -1 where there is none.
    """

    index: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.index)

    def candidates(self, z: Rows) -> NDArray[np.float64]:
        """What each output chooses from, shape (rows, outputs, candidates); -inf where nothing."""
        picked = z[:, self.index]
        return np.where(self.index >= 0, picked, -np.inf) if (self.index < 0).any() else picked

    def apply(self, z: Rows) -> Rows:
        """The largest candidates; exact."""
        return self.candidates(z).max(axis=2)


Bend = Elementwise | Maximum


@lru_cache(maxsize=64)
def relu(size: int) -> Elementwise:
    """max(z, 0) on so many entries."""
    return Elementwise(np.zeros(1), np.array([[0.0], [1.0]]), 0.0, size)
