"""What was counted at one place, and what that says by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import INFINITY, MAGNITUDE, NAN, SIGN, binades_of, edge_of, merge_counts
from deephochuli.sketch._intervals import key_around, middles_of, upper_end


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

    def relu(self) -> Self:
        """The sketch of max(x, 0) for all numbers x of this one.

        Negative numbers and both zeros become +0, NaN stays NaN. The counts are exact. Moments and
        extremes cannot be split by sign afterwards: where any number was negative, the sums take
        every number in the middle of its key's interval (at most 1/16 off, each), ``min_abs`` is
        a lower bound and ``max_abs`` an upper bound (at most 1/8 off), so that all answers about
        thresholds hold.
        """
        positive = self.keys < SIGN
        keys, counts = self.keys[positive], self.counts[positive]
        n_below = int(self.counts[~positive].sum())
        n_zero = n_below + self.count_key(0)
        nonzero = keys > 0
        keys, counts = keys[nonzero], counts[nonzero]
        if n_zero:
            keys = np.concatenate([np.zeros(1, np.uint16), keys])
            counts = np.concatenate([np.array([n_zero], np.int64), counts])
        if n_below == self.count_key(SIGN):
            return replace(self, keys=keys, counts=counts)
        return self._without_signs(keys, counts)

    def _without_signs(self, keys: NDArray[np.uint16], counts: NDArray[np.int64]) -> Self:
        """What is said of some of these numbers that are not negative."""
        is_finite = (keys & MAGNITUDE) < INFINITY
        finite, weights = keys[is_finite], counts[is_finite].astype(np.float64)
        low = high = math.nan
        if len(finite):
            high = min(upper_end(int(finite[-1])), self.max_abs)
        if finite.any():
            low = max(edge_of(int(finite[finite > 0][0])), self.min_abs)
        middle = middles_of(finite)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            total, total_sq = float(middle @ weights), float((middle * middle) @ weights)
        return type(self)(keys, counts, _exact(total), _exact(total_sq), low, high)

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


def _exact(value: float) -> Fraction | None:
    return Fraction(value) if math.isfinite(value) else None
