"""Two arms from one state: which units live in one and not in the other, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deephochuli.analysis._proportion import clopper_pearson

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Paired:
    """Units by what became of them in two arms.

    Attributes:
        n_both: Alive in both.
        n_first: Alive in the first arm only.
        n_second: Alive in the second arm only.
        n_neither: Alive in neither.
        confidence: Of the interval.
    """

    n_both: int
    n_first: int
    n_second: int
    n_neither: int
    confidence: float = 0.95

    @property
    def n(self) -> int:
        """Units altogether."""
        return self.n_both + self.n_first + self.n_second + self.n_neither

    @property
    def difference(self) -> int:
        """Units alive in the second arm minus those alive in the first."""
        return self.n_second - self.n_first

    @property
    def p_value(self) -> float:
        """Exact McNemar test."""
        return mcnemar(self.n_first, self.n_second)

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the expected difference, given how many units the arms disagree about.

        Numerics:
            Of n disagreeing units each lives in the second arm with probability p: the interval is
            n (2 p - 1) at the ends of the Clopper-Pearson interval of p. Units of one model are
            not independent, so that it is right for repetitions of independent units only; over
            models take `by_cluster`.
        """
        n = self.n_first + self.n_second
        if not n:
            return 0.0, 0.0
        low, high = clopper_pearson(self.n_second, n, self.confidence)
        return n * (2 * low - 1), n * (2 * high - 1)


def paired(first: Bools, second: Bools, confidence: float = 0.95) -> Paired:
    """Count units by what became of them in two arms, bool [units] each.

    Example:
        >>> a, b = np.array([True, False, False]), np.array([True, True, False])
        >>> paired(a, b).n_second
        1
    """
    return Paired(
        n_both=int((first & second).sum()),
        n_first=int((first & ~second).sum()),
        n_second=int((~first & second).sum()),
        n_neither=int((~first & ~second).sum()),
        confidence=confidence,
    )


def mcnemar(n_first: int, n_second: int) -> float:
    """Two-sided exact McNemar test: that units which live in one arm only favour neither.

    Args:
        n_first: Units that live in the first arm only.
        n_second: Units that live in the second arm only.

    Numerics:
        min(1, 2 P(X <= min)) for X binomial with n_first + n_second trials of 1/2, from exact
        integers (McNemar 1947; the exact form is the sign test).

    Example:
        >>> mcnemar(0, 10) == 2 / 2**10
        True
    """
    n, least = n_first + n_second, min(n_first, n_second)
    tail = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, 2 * tail / 2**n)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The mean of a difference over independent repetitions.

    Attributes:
        mean: The mean.
        low: Lower end of its interval; nan for a single repetition.
        high: Upper end.
        p_value: Two-sided sign-flip test of a mean of zero.
        n: Repetitions.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int


def by_cluster(
    differences: npt.ArrayLike, confidence: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> Cluster:
    """The mean of one difference a repetition, whatever depends on what inside a repetition.

    Args:
        differences: One number a repetition (a seed, with all of its units).
        confidence: Of the interval.
        n_resamples: Of the bootstrap and of the sign flips.
        seed: Of both.

    Numerics:
        The interval is the bootstrap-t over repetitions (Efron and Tibshirani 1993, section 12.5):
        quantiles of the studentised means of resamples. Where all differences are equal it is the
        mean alone, which says that no spread was seen and not that there is none. The p-value is
        (1 + flips as far from zero) / (1 + n_resamples) of random sign flips, exact in level
        (Lehmann and Romano 2005, section 15.2). In float64, from a generator of its own.

    Example:
        >>> by_cluster([3.0, 3.0, 3.0]).low
        3.0
    """
    values = np.asarray(differences, np.float64)
    n, mean = len(values), float(np.mean(values))
    rng = np.random.default_rng(seed)
    flips = rng.choice([-1.0, 1.0], (n_resamples, n))
    as_far = np.abs(flips @ values / n) >= abs(mean) - 1e-12
    p_value = (1 + int(as_far.sum())) / (1 + n_resamples)
    if n < 2:
        return Cluster(mean, math.nan, math.nan, p_value, n)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return Cluster(mean, mean, mean, p_value, n)
    drawn = values[rng.integers(0, n, (n_resamples, n))]
    spread = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    t = (drawn.mean(axis=1) - mean)[spread > 0] / spread[spread > 0]
    low, high = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Cluster(mean, mean - float(high) * error, mean - float(low) * error, p_value, n)
