"""Intervals and fits that conclusions of studies are drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deephochuli.analysis.backward import student_quantile
from deephochuli.analysis.swamping import Estimate

CONFIDENCE = 0.95


def mean_of(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of independent repeats with Student's interval; no interval for a single one.

    Example:
        >>> mean_of([1.0, 2.0, 3.0]).value
        2.0
    """
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Estimate(mean, math.nan, math.nan)
    spread = student_quantile((1 + confidence) / 2, n - 1) * float(np.std(values, ddof=1))
    return Estimate(mean, mean - spread / math.sqrt(n), mean + spread / math.sqrt(n))


def rms_ratio(
    above: npt.ArrayLike, below: npt.ArrayLike, confidence: float = CONFIDENCE
) -> Estimate:
    """Ratio of two root mean squares, from sums of squares over the same groups.

    Args:
        above: Sums of squares of the numerator, an entry for each group.
        below: Of the denominator.
        confidence: Of the interval.

    Numerics:
        Delete-a-group jackknife of the logarithm, with Student's quantile.

    Example:
        >>> rms_ratio([4.0, 4.0], [1.0, 1.0]).value
        2.0
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    n = len(a)
    value = 0.5 * math.log(a.sum() / b.sum())
    if n < 2:
        return Estimate(math.exp(value), math.nan, math.nan)
    without = 0.5 * np.log((a.sum() - a) / (b.sum() - b))
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    spread = student_quantile((1 + confidence) / 2, n - 1) * error
    return Estimate(*(math.exp(value + part) for part in (0.0, -spread, spread)))


def exponent_of(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent a of y ~ x^a: the slope of the least-squares line through the logarithms.

    Example:
        >>> round(exponent_of([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]), 12)
        2.0
    """
    u, v = np.log(np.asarray(x)), np.log(np.asarray(y))
    u = u - u.mean()
    return float(u @ v / (u @ u))


def share_of(part: int, whole: int, confidence: float = CONFIDENCE) -> Estimate:
    """A share of independent cases, with Wilson's interval.

    Example:
        >>> found = share_of(0, 100)
        >>> found.value, round(found.high, 3)
        (0.0, 0.037)
    """
    if not whole:
        return Estimate(math.nan, math.nan, math.nan)
    z = student_quantile((1 + confidence) / 2, 10**9)
    p = part / whole
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole**2))
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half))


def count_ratio(count: int, expected: float, confidence: float = CONFIDENCE) -> Estimate:
    """A count over its expectation, with the interval of a Poisson count.

    Numerics:
        Byar's approximation, n (1 - 1 / (9 n) - z / (3 sqrt(n)))^3 and the same with n + 1 and + z
        (Breslow and Day 1987, Statistical Methods in Cancer Research II), within a percent of the
        exact interval from 5 counts on.

    Example:
        >>> count_ratio(100, 50.0).value
        2.0
    """
    z = student_quantile((1 + confidence) / 2, 10**9)

    def end(n: int, sign: float) -> float:
        return n * max(0.0, 1 - 1 / (9 * n) + sign * z / (3 * math.sqrt(n))) ** 3

    low, high = end(count, -1.0) if count else 0.0, end(count + 1, 1.0)
    return Estimate(count / expected, low / expected, high / expected)


def told(estimate: Estimate, digits: int = 3) -> str:
    """An estimate with its interval as text.

    Example:
        >>> told(Estimate(2.0, 1.5, 2.5)), told(Estimate(2.0, float("nan"), float("nan")))
        ('2 [1.5, 2.5]', '2')
    """
    value, low, high = (number(x, digits) for x in (estimate.value, estimate.low, estimate.high))
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def number(value: float, digits: int = 3) -> str:
    """A number with some significant digits, without an exponent where it is readable so.

    Example:
        >>> number(1234.5), number(0.01234), number(1.5e-7)
        ('1234', '0.0123', '1.5e-07')
    """
    if 10**digits <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"
