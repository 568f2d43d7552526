"""When one place of two runs differs at all, and when it differs more than is ordinary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from deephochuli.analysis.parting._distance import (
    Floats,
    Ints,
    chance_of_sampling,
    distances,
)
from deephochuli.analysis.parting._rows import TapRows

WINDOW: Final = 8
"""Common steps on either side of a step that say what is ordinary there."""
SUSTAINED: Final = 3
"""Common steps in a row that must be beyond the ordinary."""
MARGIN: Final = 1.5
"""What is ordinary among replicates is this many times their largest distance, or more."""

Direction = Literal["forward", "backward", "parameters"]
_RANK: Final = {"z": 0, "a": 1, "da": 0, "dz": 1, "g": 2, "state": 0, "dw": 1, "w": 2}


@dataclass(frozen=True, slots=True)
class TapParting:
    """How one place of a run stands to the same place of the reference.

    Attributes:
        layer: Name in the reference.
        quantity: z, a, dz, da, w, g, dw or state:NAME.
        direction: The part of a step in which it is computed.
        order: Place in the order of execution.
        dtypes: In which dtype the two store it.
        first_step: First common step at which anything recorded differs; None when nothing does.
        last_equal: The common step before that one; None when there is none.
        beyond_step: First common step of several in a row at which the histograms are further
            apart than is ordinary; None when there are none.
        steps: Common steps.
        distances: Kolmogorov distance of the two histograms at each.
        ordinary: Distance that counts as ordinary there.
        is_replicated: Whether replicate runs say what is ordinary.
    """

    layer: str
    quantity: str
    direction: Direction
    order: int
    dtypes: tuple[str, str]
    first_step: int | None
    last_equal: int | None
    beyond_step: int | None
    steps: tuple[int, ...]
    distances: tuple[float, ...]
    ordinary: tuple[float, ...]
    is_replicated: bool

    @property
    def place_in_step(self) -> tuple[int, int, int]:
        """Sorts the places of one step by when they are computed.

        Forward in the order of execution; backward against it, with the gradients of a layer's
        parameters after those of its output; then states, updates and weights.
        """
        rank = _RANK.get(self.quantity.partition(":")[0], 3)
        if self.direction == "forward":
            return 0, self.order, rank
        return (1, -self.order, rank) if self.direction == "backward" else (2, self.order, rank)

    @property
    def largest(self) -> tuple[int, float, float]:
        """Step at which the distance is most above the ordinary, the distance, the ordinary."""
        most = int(np.argmax(np.subtract(self.distances, self.ordinary)))
        return self.steps[most], self.distances[most], self.ordinary[most]


def direction_of(quantity: str) -> Direction:
    """The part of a step in which a quantity is computed."""
    if quantity in {"z", "a"}:
        return "forward"
    return "backward" if quantity in {"dz", "da", "g"} else "parameters"


def judge(
    reference: TapRows,
    other: TapRows,
    replicates: Sequence[tuple[TapRows, TapRows]],
    *,
    with_sums: bool,
) -> TapParting | None:
    """Lay one place of two runs side by side.

    Args:
        reference: The place in the reference.
        other: The same place in the other run.
        replicates: The same place in pairs of runs that differ only by chance.
        with_sums: Whether recorded sums of both runs are rounded alike.

    Returns:
        What was found, or None if the two have no recorded step in common.

    Numerics:
        Whether anything differs is decided by 64-bit digests of exact counts, extremes and sums:
        a difference is one, equality is that of what was recorded, not of every bit of a tensor.
        Ordinary is, without replicates, the largest distance of the reference from one common step
        to the next within `WINDOW` common steps; with replicates it is `MARGIN` times the largest
        distance of the reference from one of them in the same window. Where the two places never
        were equal, what sampling moves (`chance_of_sampling`) is added.
    """
    steps, rows, others = np.intersect1d(reference.steps, other.steps, return_indices=True)
    if not len(steps):
        return None
    differs = _differs(reference, other, rows, others, with_sums)
    apart = np.zeros(len(steps))
    apart[differs] = _apart(reference, other, rows[differs], others[differs])
    ordinary, is_replicated = _ordinary(reference, steps, rows, replicates)
    if differs[0]:
        n, m = _elements(reference)[rows], _elements(other)[others]
        ordinary = ordinary + chance_of_sampling(n, m)
    first = int(np.argmax(differs)) if differs.any() else None
    beyond = _first_sustained(apart > ordinary)
    return TapParting(
        layer=reference.info.layer,
        quantity=reference.info.quantity,
        direction=direction_of(reference.info.quantity),
        order=reference.info.order,
        dtypes=(reference.info.dtype, other.info.dtype),
        first_step=None if first is None else int(steps[first]),
        last_equal=int(steps[first - 1]) if first else None,
        beyond_step=None if beyond is None else int(steps[beyond]),
        steps=tuple(steps.tolist()),
        distances=tuple(apart.tolist()),
        ordinary=tuple(ordinary.tolist()),
        is_replicated=is_replicated,
    )


def _differs(
    one: TapRows, other: TapRows, rows: Ints, others: Ints, with_sums: bool
) -> NDArray[np.bool_]:
    if with_sums:
        return one.digest[rows] != other.digest[others]
    return one.coarse[rows] != other.coarse[others]


def _apart(one: TapRows, other: TapRows, rows: Ints, others: Ints) -> Floats:
    return distances((one.keys, one.counts), rows, (other.keys, other.counts), others)


def _elements(rows: TapRows) -> Ints:
    return rows.counts.totals()


def _ordinary(
    reference: TapRows, steps: Ints, rows: Ints, replicates: Sequence[tuple[TapRows, TapRows]]
) -> tuple[Floats, bool]:
    """The distance that is ordinary at each common step, and whether replicates say so."""
    parts = [_replicate_distances(one, other) for one, other in replicates]
    parts = [(at, apart) for at, apart in parts if len(at)]
    if parts:
        at = np.concatenate([at for at, _ in parts])
        apart = np.concatenate([apart for _, apart in parts])
        order = np.argsort(at, kind="stable")
        return MARGIN * _largest_near(steps, at[order], apart[order]), True
    drift = _apart(reference, reference, rows[1:], rows[:-1])
    return _largest_near(steps, steps[1:], drift), False


def _replicate_distances(one: TapRows, other: TapRows) -> tuple[Ints, Floats]:
    steps, rows, others = np.intersect1d(one.steps, other.steps, return_indices=True)
    return steps, _apart(one, other, rows, others)


def _largest_near(steps: Ints, at: Ints, values: Floats) -> Floats:
    """Largest of the values whose step lies within `WINDOW` places of each step; 0 for none."""
    places = np.arange(len(steps))
    low = np.searchsorted(at, steps[np.maximum(places - WINDOW, 0)], "left")
    high = np.searchsorted(at, steps[np.minimum(places + WINDOW, len(steps) - 1)], "right")
    spans = zip(low.tolist(), high.tolist(), strict=True)
    return np.array([values[i:j].max() if j > i else 0.0 for i, j in spans])


def _first_sustained(beyond: NDArray[np.bool_]) -> int | None:
    """Where the first `SUSTAINED` in a row begin; a shorter series must be beyond throughout."""
    needed = min(SUSTAINED, len(beyond))
    windows = np.lib.stride_tricks.sliding_window_view(beyond, needed).all(axis=1)
    return int(np.argmax(windows)) if windows.any() else None
