"""An interval for a probability from a count of successes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def clopper_pearson(n_hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval that holds the probability of success with at least the stated confidence.

    Args:
        n_hits: Successes.
        n: Trials, at least one.
        confidence: Probability that the interval holds the truth, two-sided.

    Raises:
        ValueError: There are more successes than trials, or none of either.

    Numerics:
        The ends solve P(X >= n_hits) = a and P(X <= n_hits) = a with a = (1 - confidence) / 2
        (Clopper and Pearson, 1934) by bisection to 1e-12; tails are sums of binomial terms from
        their logarithms, in float64.

    Example:
        >>> low, high = clopper_pearson(5, 50)
        >>> round(low, 4), round(high, 4)
        (0.0333, 0.2181)
    """
    if not 0 <= n_hits <= n or n < 1:
        raise ValueError(
            f"{n_hits} successes of {n} trials: expected 0 <= successes <= trials >= 1"
        )
    tail = (1 - confidence) / 2
    terms = np.arange(n + 1)
    log_choose = np.array(
        [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    )

    def mass(p: float, begin: int, end: int) -> float:
        """P(begin <= X < end)."""
        k = terms[begin:end]
        return float(np.exp(log_choose[k] + k * math.log(p) + (n - k) * math.log1p(-p)).sum())

    low = 0.0 if n_hits == 0 else _crossing(lambda p: mass(p, n_hits, n + 1) - tail)
    high = 1.0 if n_hits == n else _crossing(lambda p: tail - mass(p, 0, n_hits + 1))
    return low, high


def _crossing(rising: Callable[[float], float]) -> float:
    """Where a function that rises from below zero crosses it, in (0, 1)."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
