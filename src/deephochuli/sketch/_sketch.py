"""The mergeable summary of all numbers that were seen at one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import SketchError, check_kind
from deephochuli.formats import Format, Overflow
from deephochuli.kernels import (
    Summary,
    largest,
    merge_counts,
    smallest,
)
from deephochuli.sketch._ask import Answer, ScaleChoice, ask, best_scale
from deephochuli.sketch._counts import Counts

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Sketch(Counts):
    """Counts of leading-bit keys, with moments and extremes.

    A sketch has no memory of order: sketches of parts of the data, of micro-batches, of steps or of
    ranks merge into the sketch of everything. It answers, for any number format and without the
    data, what that format would do to the numbers: :func:`deephochuli.sketch.ask`.

    Attributes:
        keys: Leading-bit keys that occur, uint16, strictly increasing (see ``kernels/_key.py``).
        counts: How often each occurs, int64.
        exact_sum: Sum of the finite elements; None when it is beyond binary64.
        exact_sum_sq: Sum of their squares; None when it is beyond binary64.
        min_abs: Smallest nonzero finite magnitude; NaN when there is none.
        max_abs: Largest finite magnitude; NaN when there is no finite element.

    Numerics:
        Counts are exact integers. The sums of one tensor are accumulated in binary64 and then held
        as rationals, so merging adds no rounding: it is associative and commutative to the bit.
    """

    @classmethod
    def empty(cls) -> Sketch:
        """The sketch of no numbers: the neutral element of merging."""
        keys, counts = np.zeros(0, np.uint16), np.zeros(0, np.int64)
        return cls(keys, counts, Fraction(0), Fraction(0), math.nan, math.nan)

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Sketch:
        """Sketch a tensor.

        Args:
            tensor: Floating-point tensor of any shape, strides, device, with any values.

        Raises:
            SketchError: The tensor's type or layout cannot be counted.

        Example:
            >>> import torch
            >>> sketch = Sketch.of(torch.tensor([0.0, 1.0, -3.0, float("inf")]))
            >>> sketch.n, sketch.n_zero, sketch.n_nonfinite, sketch.max_abs
            (4, 1, 1, 3.0)
        """
        from torch import Tensor

        from deephochuli.kernels import TensorJob, backend_for

        check_kind(tensor, Tensor, "a torch.Tensor", SketchError, "Cannot sketch")
        (summary,) = backend_for(tensor.device).summarise([TensorJob(tensor)])
        return cls.from_summary(summary)

    @classmethod
    def from_summary(cls, summary: Summary) -> Sketch:
        """Make a sketch of what a kernel counted."""
        return cls.from_counts(
            summary.keys,
            summary.counts,
            summary.sum,
            summary.sum_sq,
            summary.min_abs,
            summary.max_abs,
        )

    @classmethod
    def from_counts(
        cls,
        keys: NDArray[np.uint16],
        counts: NDArray[np.int64],
        total: float,
        total_sq: float,
        min_abs: float,
        max_abs: float,
    ) -> Sketch:
        """Make a sketch of recorded columns.

        Raises:
            SketchError: Keys are not strictly increasing, a count is not positive, or the two
                differ in length.
        """
        if len(keys) != len(counts):
            raise SketchError(
                f"A sketch needs one count per key: got {len(keys)} keys, {len(counts)} counts."
            )
        if len(keys) and (np.any(np.diff(keys.astype(np.int64)) <= 0) or counts.min() <= 0):
            raise SketchError(
                "A sketch needs strictly increasing keys with positive counts; the columns given "
                "are out of order or hold a count below 1. The data are damaged."
            )
        return cls(
            keys,
            counts,
            Fraction(total) if math.isfinite(total) else None,
            Fraction(total_sq) if math.isfinite(total_sq) else None,
            min_abs,
            max_abs,
        )

    # --- combining -------------------------------------------------------------------------------

    def merge(self, *others: Sketch) -> Sketch:
        """The sketch of all numbers of this sketch and of others."""
        return merge_sketches((self, *others))

    def __add__(self, other: Sketch) -> Sketch:
        """Merge two sketches."""
        return merge_sketches((self, other))

    # --- asking ----------------------------------------------------------------------------------

    def ask(
        self,
        fmt: Format | str,
        *,
        scale: float = 1.0,
        overflow: Overflow | str | None = None,
        source: Format | str | None = None,
    ) -> Answer:
        """Say what a format would do to these numbers; see :func:`deephochuli.sketch.ask`."""
        return ask(self, fmt, scale=scale, overflow=overflow, source=source)

    def best_scale(self, fmt: Format | str, *, margin_binades: int = 0) -> ScaleChoice:
        """Find the power of two that fits; see :func:`deephochuli.sketch.best_scale`."""
        return best_scale(self, fmt, margin_binades=margin_binades)


def merge_sketches(sketches: Iterable[Sketch]) -> Sketch:
    """Merge any number of sketches; the empty sketch for none."""
    parts = tuple(sketches)
    if not parts:
        return Sketch.empty()
    keys, counts = merge_counts([(part.keys, part.counts) for part in parts])
    return Sketch(
        keys,
        counts,
        _exact_total([part.exact_sum for part in parts]),
        _exact_total([part.exact_sum_sq for part in parts]),
        smallest(part.min_abs for part in parts),
        largest(part.max_abs for part in parts),
    )


def _exact_total(parts: list[Fraction | None]) -> Fraction | None:
    total = Fraction(0)
    for part in parts:
        if part is None:
            return None
        total += part
    return total
