"""The mergeable summary of all numbers that were seen at one place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import SketchError
from deephochuli.kernels import (
    INFINITY,
    MAGNITUDE,
    NAN,
    SIGN,
    Summary,
    binades_of,
    edge_of,
    edges_of,
    key_of,
    largest,
    merge_counts,
    smallest,
)

if TYPE_CHECKING:
    import torch

    from deephochuli.formats import Format, Overflow
    from deephochuli.sketch._ask import Answer, ScaleChoice

# The largest even key of finite magnitudes.
_TOP = INFINITY - 2


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
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

    keys: NDArray[np.uint16]
    counts: NDArray[np.int64]
    exact_sum: Fraction | None
    exact_sum_sq: Fraction | None
    min_abs: float
    max_abs: float

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
        from deephochuli.kernels import TensorJob, backend_for

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

    # --- what it says directly -------------------------------------------------------------------

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
        key, on_edge = _locate(bound)
        certain = keys < key
        if on_edge:
            # ``key`` is even and stands for the bound itself; the interval above it lies beyond.
            certain |= (keys == key) & inclusive
            total = int(counts[certain].sum())
            return total, total
        total = int(counts[certain].sum())
        return total, total + int(counts[keys == key].sum())

    # --- combining -------------------------------------------------------------------------------

    def merge(self, *others: Sketch) -> Sketch:
        """The sketch of all numbers of this sketch and of others."""
        return merge_sketches((self, *others))

    def __add__(self, other: Sketch) -> Sketch:
        """Merge two sketches."""
        return merge_sketches((self, other))

    def relu(self) -> Sketch:
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
        return _from_keys(keys, counts, self.min_abs, self.max_abs)

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
        from deephochuli.sketch._ask import ask

        return ask(self, fmt, scale=scale, overflow=overflow, source=source)

    def best_scale(self, fmt: Format | str, *, margin_binades: int = 0) -> ScaleChoice:
        """Find the power of two that fits; see :func:`deephochuli.sketch.best_scale`."""
        from deephochuli.sketch._ask import best_scale

        return best_scale(self, fmt, margin_binades=margin_binades)

    def __eq__(self, other: object) -> bool:
        """Whether two sketches hold the same counts, sums and extremes."""
        if not isinstance(other, Sketch):
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


def _from_keys(
    keys: NDArray[np.uint16], counts: NDArray[np.int64], min_abs: float, max_abs: float
) -> Sketch:
    """A sketch of nonnegative numbers whose magnitudes lie within the two given."""
    is_finite = (keys & MAGNITUDE) < INFINITY
    finite, weights = keys[is_finite], counts[is_finite].astype(np.float64)
    low = high = math.nan
    if len(finite):
        high = min(_upper_end(int(finite[-1])), max_abs)
    if finite.any():
        low = max(edge_of(int(finite[finite > 0][0])), min_abs)
    middle = middles_of(finite)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        total, total_sq = float(middle @ weights), float((middle * middle) @ weights)
    return Sketch(keys, counts, _exact(total), _exact(total_sq), low, high)


def middles_of(keys: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The magnitude of each even finite key; the middle of each odd one's interval."""
    lower = edges_of(keys)
    upper = edges_of(np.where(keys % 2 == 0, keys, np.minimum(keys + 1, _TOP)).astype(np.uint16))
    return lower + 0.5 * (upper - lower)


def _upper_end(key: int) -> float:
    """The largest magnitude that a finite key may stand for."""
    return edge_of(key) if key % 2 == 0 else math.nextafter(edge_of(key + 1), 0.0)


def _locate(bound: Fraction) -> tuple[int, bool]:
    """The key whose value or open interval holds a positive bound, and whether it is an edge."""
    try:
        nearest = float(bound)
    except OverflowError:
        return INFINITY, False
    floor = nearest if Fraction(nearest) <= bound else math.nextafter(nearest, 0.0)
    key = key_of(floor)
    exact = Fraction(floor) == bound
    return (key, True) if exact and key % 2 == 0 else (key | 1, False)


def _exact(value: float) -> Fraction | None:
    return Fraction(value) if math.isfinite(value) else None


def _exact_total(parts: list[Fraction | None]) -> Fraction | None:
    total = Fraction(0)
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _to_float(value: Fraction | None) -> float:
    try:
        return math.inf if value is None else float(value)
    except OverflowError:
        return math.inf


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
