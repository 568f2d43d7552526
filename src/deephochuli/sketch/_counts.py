"""What was counted at one place, and what that says by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import INFINITY, MAGNITUDE, NAN, SIGN, binades_of, merge_counts
from deephochuli.sketch._intervals import key_around


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Counts of leading-bit keys, with moments and extremes; see `Sketch` for its attributes."""

    keys: NDArray[np.uint16]
    counts: NDArray[np.int64]
    exact_sum: Fraction | None
    exact_sum_sq: Fraction | None
    min_abs: float
    max_abs: float

    @property
    def n(self) -> int:
        """How many numbers were seen."""
        return int(self.counts.sum())

    @property
    def n_zero(self) -> int:
        """How many were zero, of either sign."""
        return self.count_key(0) + self.count_key(SIGN)

    @property
    def n_inf(self) -> int:
        """How many were infinite, of either sign."""
        return self.count_key(INFINITY) + self.count_key(SIGN | INFINITY)

    @property
    def n_nan(self) -> int:
        """How many were not a number."""
        return self.count_key(NAN)

    @property
    def n_nonfinite(self) -> int:
        """How many were infinite or not a number."""
        return self.n_inf + self.n_nan

    @property
    def n_finite(self) -> int:
        """How many were finite."""
        return self.n - self.n_nonfinite

    @property
    def sum(self) -> float:
        """Sum of the finite numbers, rounded once; infinite when beyond binary64."""
        return _to_float(self.exact_sum)

    @property
    def sum_sq(self) -> float:
        """Sum of the squares of the finite numbers, rounded once; infinite beyond binary64."""
        return _to_float(self.exact_sum_sq)

    @property
    def mean(self) -> float:
        """Mean of the finite numbers; NaN when there is none."""
        return self.sum / self.n_finite if self.n_finite else math.nan

    @property
    def rms(self) -> float:
        """Root mean square of the finite numbers; NaN when there is none."""
        return math.sqrt(self.sum_sq / self.n_finite) if self.n_finite else math.nan

    def count_key(self, key: int) -> int:
        """How many numbers have exactly this leading-bit key."""
        at = int(np.searchsorted(self.keys, key))
        if at < len(self.keys) and int(self.keys[at]) == key:
            return int(self.counts[at])
        return 0

    def magnitudes(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Counts of finite numbers by magnitude: (keys without sign, counts), zeros included."""
        finite = (self.keys & MAGNITUDE) < INFINITY
        keys, counts = self.keys[finite], self.counts[finite]
        split = int(np.searchsorted(keys, SIGN))
        negative = (keys[split:] & MAGNITUDE).astype(np.uint16)
        return merge_counts([(keys[:split], counts[:split]), (negative, counts[split:])])

    def binades(self) -> dict[int, int]:
        """How many nonzero finite magnitudes lie in each binade [2**e, 2**(e+1)), by e."""
        keys, counts = self.magnitudes()
        nonzero = keys > 0
        exponents, starts = np.unique(binades_of(keys[nonzero]), return_index=True)
        totals = np.add.reduceat(counts[nonzero], starts) if len(starts) else starts
        return dict(zip(exponents.tolist(), totals.tolist(), strict=True))

    def count_below(self, threshold: Fraction | float, *, inclusive: bool) -> tuple[int, int]:
        """Count nonzero finite magnitudes below a threshold.

        Args:
            threshold: Nonnegative bound, exact.
            inclusive: Whether magnitudes equal to the bound count.

        Returns:
            (low, high): bounds on the count; equal whenever the threshold is an edge of a key, or
            the extremes show that no element can lie on the other side.
        """
        bound = Fraction(threshold)
        keys, counts = self.magnitudes()
        keys, counts = keys[keys > 0], counts[keys > 0]
        if self.max_abs < bound or (inclusive and self.max_abs == bound):
            return int(counts.sum()), int(counts.sum())
        if math.isnan(self.min_abs) or self.min_abs > bound:
            return 0, 0
        if not inclusive and self.min_abs == bound:
            return 0, 0
        key, on_edge = key_around(bound)
        certain = keys < key
        if on_edge:
            # ``key`` is even and stands for the bound itself; the interval above it lies beyond.
            certain |= (keys == key) & inclusive
            total = int(counts[certain].sum())
            return total, total
        total = int(counts[certain].sum())
        return total, total + int(counts[keys == key].sum())

    def __eq__(self, other: object) -> bool:
        """Whether two sketches hold the same counts, sums and extremes."""
        if not isinstance(other, Counts):
            return NotImplemented
        return (
            np.array_equal(self.keys, other.keys)
            and np.array_equal(self.counts, other.counts)
            and self.exact_sum == other.exact_sum
            and self.exact_sum_sq == other.exact_sum_sq
            and _same(self.min_abs, other.min_abs)
            and _same(self.max_abs, other.max_abs)
        )

    def __hash__(self) -> int:
        """Hash of the counts."""
        return hash((self.keys.tobytes(), self.counts.tobytes()))


def _to_float(value: Fraction | None) -> float:
    try:
        return math.inf if value is None else float(value)
    except OverflowError:
        return math.inf


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
