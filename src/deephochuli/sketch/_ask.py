"""Questions to a sketch: what would a number format do to these numbers?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import SketchError
from deephochuli.formats import Format, Overflow, get_format
from deephochuli.kernels import INFINITY, SIGN
from deephochuli.sketch._counts import Counts
from deephochuli.sketch._intervals import middles_of


@dataclass(frozen=True, slots=True)
class Share:
    """A count between two bounds, of a total.

    Attributes:
        low: The count is at least this.
        high: The count is at most this; equal to ``low`` wherever the sketch decides exactly.
        of: The total that the count is a part of.
    """

    low: int
    high: int
    of: int

    @property
    def is_exact(self) -> bool:
        """Whether the count is known exactly."""
        return self.low == self.high

    @property
    def low_share(self) -> float:
        """Lower bound as a share of the total; 0 of an empty total."""
        return self.low / self.of if self.of else 0.0

    @property
    def high_share(self) -> float:
        """Upper bound as a share of the total; 0 of an empty total."""
        return self.high / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one format does to the numbers of a sketch, each first multiplied by a scale.

    Rounding is to nearest, ties to even. Counts are of numbers, before the question nonzero and
    finite; ``n`` is how many of those there are.

    Attributes:
        format: The format that was asked about.
        scale: The factor.
        overflow: What the format puts in place of results beyond its range.
        n: Nonzero finite numbers.
        to_zero: How many become zero.
        subnormal: How many become nonzero and subnormal.
        out_of_range: How many round to beyond the largest finite value (infinity, NaN, or
            saturation, as ``overflow`` says), or are negative where the format has no sign (NaN).
        headroom_binades: log2(max_finite / largest magnitude); negative beyond the range, NaN
            without a nonzero number.
        footroom_binades: log2(smallest magnitude / smallest positive value); negative when some
            number is below it, NaN without a nonzero number.
        rel_error_rms: Estimated root mean square of the error over that of the numbers: errors of
            rounding are taken as uniform within half a unit in the last place, those of numbers
            that become zero or saturate as they are. Infinite when a number becomes infinite or
            NaN. NaN without a nonzero number.
    """

    format: Format
    scale: float
    overflow: Overflow
    n: int
    to_zero: Share
    subnormal: Share
    out_of_range: Share
    headroom_binades: float
    footroom_binades: float
    rel_error_rms: float

    @property
    def lossless_range(self) -> bool:
        """Whether no number becomes zero or leaves the range."""
        return self.to_zero.high == 0 and self.out_of_range.high == 0


def ask(
    sketch: Counts,
    fmt: Format | str,
    *,
    scale: float = 1.0,
    overflow: Overflow | str | None = None,
    source: Format | str | None = None,
) -> Answer:
    """Say what a format would do to the numbers of a sketch.

    Args:
        sketch: The numbers, as counted: a `Sketch`.
        fmt: Any format, or its name.
        scale: Positive factor applied first, exactly (a loss scale, a tensor scale).
        overflow: What happens beyond the range; the format's own policy when None.
        source: Format in which the numbers were stored, if known: numbers that have no more
            significand bits than ``fmt`` are not charged with rounding errors in its normal range.

    Returns:
        Counts with bounds, room at both ends of the range, and an estimate of the error.

    Raises:
        FormatError: No such format.
        SketchError: The scale is not a positive finite number.

    Numerics:
        Thresholds are rational numbers and exact. A count is exact whenever its threshold, divided
        by the scale, is an edge of a key (a power of two times 1, 9/8, ... 15/8), or all numbers
        lie on one side of it; else the two bounds differ by the numbers in one key interval.

    Example:
        >>> import torch
        >>> from deephochuli.sketch import Sketch
        >>> gradients = Sketch.of(torch.tensor([1e-3, 1e-8, -2.0**-25, 0.0]))
        >>> answer = ask(gradients, "fp16")
        >>> answer.to_zero.low, answer.to_zero.high, answer.n
        (2, 2, 3)
        >>> ask(gradients, "fp16", scale=1024.0).to_zero.high
        0
    """
    fmt = get_format(fmt)
    if not (math.isfinite(scale) and scale > 0):
        raise SketchError(f"A scale must be a positive finite number, got {scale!r}.")
    policy = fmt.overflow if overflow is None else Overflow(overflow)
    factor = Fraction(scale)
    n = sketch.n_finite - sketch.n_zero
    sketch, n_negative = _representable(sketch, fmt)
    to_zero = _below(sketch, _zero_limit(fmt) / factor, inclusive=True)
    limit = fmt.overflow_limit
    within = _below(sketch, limit.value / factor, inclusive=limit.inclusive)
    exact_source = source is not None and get_format(source).precision <= fmt.precision
    out_of_range = Share(n - within[1], n - within[0], n)
    error = _error(sketch, fmt, scale, policy, exact_source, out_of_range)
    return Answer(
        format=fmt,
        scale=scale,
        overflow=policy,
        n=n,
        to_zero=Share(*to_zero, n),
        subnormal=_subnormal(sketch, fmt, factor, to_zero, n),
        out_of_range=out_of_range,
        headroom_binades=_binades(fmt.max_finite, sketch.max_abs) - math.log2(scale),
        footroom_binades=_binades(sketch.min_abs, fmt.smallest_subnormal) + math.log2(scale),
        rel_error_rms=math.inf if n_negative else error,
    )


def _representable(sketch: Counts, fmt: Format) -> tuple[Counts, int]:
    """The numbers whose sign a format has, and how many others there are."""
    finite = (sketch.keys > SIGN) & (sketch.keys < SIGN + INFINITY)
    n_negative = 0 if fmt.is_signed else int(sketch.counts[finite].sum())
    return (sketch.relu() if n_negative else sketch), n_negative


@dataclass(frozen=True, slots=True)
class ScaleChoice:
    """Powers of two that bring the numbers of a sketch into the range of a format.

    Attributes:
        best: The largest power of two at which nothing leaves the range at the top, less the
            margin; NaN when there is no nonzero number.
        lossless_from: The smallest power of two at which nothing becomes zero.
        lossless_to: The largest power of two at which nothing leaves the range; NaN where negative
            numbers have no place in the format.
        answer: What the format does at ``best``; None when there is no nonzero number.
    """

    best: float
    lossless_from: float
    lossless_to: float
    answer: Answer | None

    @property
    def fits_without_loss(self) -> bool:
        """Whether some scale keeps every number from becoming zero and from leaving the range."""
        return self.lossless_from <= self.lossless_to


def best_scale(sketch: Counts, fmt: Format | str, *, margin_binades: int = 0) -> ScaleChoice:
    """Find the power of two by which to multiply numbers before they are put into a format.

    Args:
        sketch: The numbers: a `Sketch`.
        fmt: Any format, or its name.
        margin_binades: Room to leave at the top for numbers that are still to come.

    Raises:
        FormatError: No such format.
    """
    fmt = get_format(fmt)
    held, n_negative = _representable(sketch, fmt)
    if held.n_finite == held.n_zero:
        return ScaleChoice(math.nan, math.nan, math.nan, None)
    bottom = _power_above(_zero_limit(fmt) / Fraction(held.min_abs))
    best = highest_scale(held.max_abs, fmt, margin_binades=margin_binades)
    return ScaleChoice(
        best,
        math.ldexp(1.0, _clamp(bottom)),
        math.nan if n_negative else highest_scale(held.max_abs, fmt),
        ask(sketch, fmt, scale=best),
    )


def highest_scale(max_abs: float, fmt: Format, *, margin_binades: int = 0) -> float:
    """Find the highest power of two by which numbers can be multiplied and stay in a format.

    Args:
        max_abs: Largest magnitude among the numbers, finite and not 0.
        fmt: The format.
        margin_binades: Room to leave at the top.

    Returns:
        The power of two, kept within the normal range of binary64.

    Numerics:
        In exact rationals.

    >>> highest_scale(3.0, get_format("fp16"), margin_binades=4)
    1024.0
    """
    limit = fmt.overflow_limit
    top = _power_below(limit.value / Fraction(max_abs), inclusive=limit.inclusive)
    return math.ldexp(1.0, _clamp(top - margin_binades))


def _zero_limit(fmt: Format) -> Fraction:
    """Largest magnitude that rounds to zero, also where it is below binary64; 0 without a zero."""
    return Fraction(fmt.smallest_subnormal) / 2 if fmt.has_zero else Fraction(0)


def _below(sketch: Counts, bound: Fraction, *, inclusive: bool) -> tuple[int, int]:
    return (0, 0) if bound == 0 else sketch.count_below(bound, inclusive=inclusive)


def _subnormal(
    sketch: Counts, fmt: Format, factor: Fraction, to_zero: tuple[int, int], n: int
) -> Share:
    """Nonzero results below the smallest normal value; the tie just below it rounds up to it."""
    if not fmt.has_subnormals or fmt.smallest_subnormal == fmt.smallest_normal:
        return Share(0, 0, n)
    half = Fraction(fmt.smallest_subnormal) / 2
    bound = (Fraction(fmt.smallest_normal) - half) / factor
    low, high = sketch.count_below(bound, inclusive=False)
    return Share(max(low - to_zero[1], 0), max(high - to_zero[0], 0), n)


def _error(
    sketch: Counts, fmt: Format, scale: float, policy: Overflow, exact_source: bool, out: Share
) -> float:
    if not sketch.sum_sq > 0:
        return math.nan
    if out.low and policy is not Overflow.SATURATE:
        return math.inf
    keys, counts = sketch.magnitudes()
    keys, counts = keys[keys > 0], counts[keys > 0].astype(np.float64)
    with np.errstate(all="ignore"):  # what leaves binary64 at either end is caught by the limits
        square = _squared_errors(keys, fmt, scale, exact_source)
        return math.sqrt(float((square / sketch.sum_sq) @ counts))


def _squared_errors(
    keys: NDArray[np.uint16], fmt: Format, scale: float, exact_source: bool
) -> NDArray[np.float64]:
    """Estimated squared error of each key's numbers, divided by the scale again."""
    factor, shift = math.frexp(scale)  # all in units of 2**shift, so that no scale overflows
    x = middles_of(keys) * factor
    exponents = np.maximum(np.frexp(x)[1] - 1 + shift, fmt.emin)
    step = np.ldexp(1.0, exponents - (fmt.precision - 1) - shift)
    smallest_normal, smallest, largest = (
        float(np.ldexp(limit, -shift))
        for limit in (fmt.smallest_normal, fmt.smallest_subnormal, fmt.max_finite)
    )
    if not fmt.has_subnormals:  # between zero and the smallest normal number
        step = np.where(x < smallest_normal, smallest_normal, step)
    square = step * step / 12
    on_grid = (keys % 2 == 0) & (factor == 0.5) & (np.remainder(x, step) == 0)
    square[on_grid | (exact_source & (x >= smallest_normal))] = 0.0
    low, high = x <= smallest / 2, x > largest
    square[low] = (x * x)[low]
    square[high] = ((x - largest) ** 2)[high]
    return square / (factor * factor)


def _binades(numerator: float, denominator: float) -> float:
    if not (numerator > 0 and denominator > 0):
        return math.nan
    return math.log2(numerator) - math.log2(denominator)


def _power_below(bound: Fraction, *, inclusive: bool) -> int:
    """Largest e with 2**e < bound, or <= bound."""
    e = bound.numerator.bit_length() - bound.denominator.bit_length() + 1
    while Fraction(2) ** e > bound or (Fraction(2) ** e == bound and not inclusive):
        e -= 1
    return e


def _power_above(bound: Fraction) -> int:
    """Smallest e with 2**e > bound; for a bound of 0 the smallest power of two there is."""
    if bound == 0:
        return -1022
    e = bound.numerator.bit_length() - bound.denominator.bit_length() - 1
    while Fraction(2) ** e <= bound:
        e += 1
    return e


def _clamp(e: int) -> int:
    """Keep an exponent within the normal range of binary64."""
    return max(-1022, min(1023, e))
