"""Laws of numbers near zero: what rarity alone predicts, and how unlikely that makes the data."""

# Scipy ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import MissingExtraError

ENOUGH = 5.0
"""Expected count from which on a bin may enter Pearson's statistic as it is."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number and the bounds between which it lies with a stated confidence."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a number lies within the bounds."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """The number with its bounds, four digits each."""
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def density(n_near: int, n: int, below: float, confidence: float, spread: float = 1.0) -> Interval:
    """Density of z at 0 from the count of |z| < t: n_near / (2 t N), with its interval.

    Args:
        n_near: How many magnitudes lie below `below`.
        n: Of how many.
        below: t, so small that the density is flat below it.
        confidence: Of the two-sided interval.
        spread: Variance of counts over that of Poisson counts; more than 1 where values come in
            clusters, as they do where inputs repeat.

    Numerics:
        Exact Poisson bounds by quantiles of the gamma law (Garwood 1936); a spread divides the
        counts first, as for quasi-Poisson models.
    """
    if not n:
        return Interval(math.nan, math.nan, math.nan)
    stats = _scipy()
    tail, count = (1 - confidence) / 2, n_near / spread
    low = float(stats.gamma.ppf(tail, count)) if count else 0.0
    high = float(stats.gamma.ppf(1 - tail, count + 1))
    scale = 2 * below * n / spread
    return Interval(count / scale, low / scale, high / scale)


def cutoff(n: float, p0: float, confidence: float = 0.95) -> Interval:
    """The smallest of N magnitudes if rarity alone decides: mean 1 / (2 N p0), and its range.

    Numerics:
        min |z| is exponential with rate 2 N p0, as long as it is far below where the density
        changes.

    Example:
        >>> print(cutoff(2**30, 0.4))
        1.164e-09 [2.947e-11, 4.294e-09]
    """
    rate = 2 * n * p0
    if not rate > 0:
        return Interval(math.inf, 0.0, math.inf)
    tail = (1 - confidence) / 2
    return Interval(1 / rate, -math.log1p(-tail) / rate, -math.log(tail) / rate)


def cutoff_p(n: float, p0: float, smallest: float) -> float:
    """Probability under rarity that none of N magnitudes is below the smallest one seen."""
    return math.exp(-2 * n * p0 * smallest)


def poisson_upper(count: int, mean: float) -> float:
    """P(X >= count) for a Poisson count X; exact."""
    if count <= 0:
        return 1.0
    return float(_scipy().poisson.sf(count - 1, mean)) if mean > 0 else 0.0


def poisson_two_sided(count: int, mean: float) -> float:
    """Twice the smaller tail of a Poisson law, at most 1; conservative because counts are whole."""
    if not mean > 0:
        return 1.0 if count == 0 else 0.0
    lower = float(_scipy().poisson.cdf(count, mean))
    return min(1.0, 2 * min(lower, poisson_upper(count, mean)))


def trailing_upper(total: int, n: int) -> float:
    """P(X >= total) for the trailing zeros X of n values without a lattice.

    Numerics:
        Each count is geometric with parameter 1/2, so their sum is negative binomial (n, 1/2);
        exact up to the length of significands, beyond which it is conservative.

    Example:
        >>> trailing_upper(3, 1), trailing_upper(0, 4)
        (0.125, 1.0)
    """
    if total <= 0 or n == 0:
        return 1.0
    return float(_scipy().nbinom.sf(total - 1, n, 0.5))


def bins_p(counts: NDArray[np.int64]) -> float:
    """Pearson's test of counts per binade, from the largest binade down, against halving counts.

    Args:
        counts: (n,) counts of |z| in [t/2, t), [t/4, t/2), ...

    Returns:
        The p-value given their total; NaN where fewer than two bins can be formed.

    Numerics:
        Expected shares 1/2, 1/4, ...; the tail is merged until 5 are expected in it. The law of
        chi-square is asymptotic.
    """
    total = int(counts.sum())
    depth = min(len(counts) - 1, int(math.log2(total / ENOUGH))) if total > ENOUGH else 0
    if depth < 1:
        return math.nan
    seen = np.append(counts[:depth], counts[depth:].sum())
    shares = np.append(0.5 ** np.arange(1, depth + 1), 0.5**depth)
    statistic = float(((seen - total * shares) ** 2 / (total * shares)).sum())
    return float(_scipy().chi2.sf(statistic, depth))


def spread_p(statistic: float, freedom: int) -> float:
    """Upper tail of chi-square: of counts that should vary as Poisson counts do (Fisher 1950)."""
    return float(_scipy().chi2.sf(statistic, freedom))


def uniform_p(magnitudes: NDArray[np.float64], below: float) -> float:
    """Test of Kolmogorov and Smirnov of |z| / t against the uniform law; NaN for no values."""
    if not len(magnitudes):
        return math.nan
    return float(_scipy().kstest(magnitudes / below, "uniform").pvalue)


def distinct_p(seen: int, values: NDArray[np.float64], cells: float) -> tuple[float, float]:
    """Test whether values repeat more often than the cells of their format let them.

    Args:
        seen: Distinct values.
        values: (groups,) how many values fell into each group: one binade of one channel.
        cells: Values that the format has in a group.

    Returns:
        How many distinct ones are expected where values fall into cells at random, and the
        probability of as few or fewer.

    Numerics:
        Mean and variance of the number of occupied cells (Johnson and Kotz, Urn Models, 1977,
        section 3.2), and a normal law with a correction for continuity.
    """
    n = np.asarray(values, np.float64)
    one = np.exp(n * math.log1p(-1 / cells))
    two = np.exp(n * math.log1p(-2 / cells))
    mean = float((-cells * np.expm1(n * math.log1p(-1 / cells))).sum())
    # m q1 + m (m - 1) q2 - m^2 q1^2, written so that nothing large cancels.
    variance = float(
        (cells * (one - two) + cells**2 * one**2 * np.expm1(_log_ratio(n, cells))).sum()
    )
    if variance <= 0:
        return mean, 1.0 if seen >= mean - 0.5 else 0.0
    return mean, NormalDist().cdf((seen + 0.5 - mean) / math.sqrt(variance))


def _log_ratio(n: NDArray[np.float64], cells: float) -> NDArray[np.float64]:
    """log(q2 / q1^2) = n log(1 - 1 / (m - 1)^2), with 1 - 2/m = (1 - 1/m)^2 (1 - 1/(m-1)^2)."""
    return n * math.log1p(-1 / (cells - 1) ** 2)


def _scipy() -> Any:
    try:
        import scipy.stats

        stats: ModuleType = scipy.stats
    except ImportError as error:
        raise MissingExtraError("Tails of distributions", "scipy", "studies") from error
    return stats
