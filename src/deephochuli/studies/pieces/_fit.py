"""Growth exponents with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_N_RESAMPLES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A fitted number with its bootstrap interval.

    Attributes:
        value: From all networks.
        low: Lower end of the interval of confidence 95 %.
        high: Upper end.
        n: Networks at each place.
    """

    value: float
    low: float
    high: float
    n: int

    def holds(self, low: float, high: float) -> bool:
        """Whether the whole interval lies between two numbers."""
        return low <= self.low and self.high <= high

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f}, n = {self.n})"


def exponent(x: Sequence[float], counts: ArrayLike) -> Estimate:
    """Exponent k of counts growing like x^k: slope of log mean count against log x.

    Args:
        x: Places, at least two, positive.
        counts: Counts [places, networks], positive.

    Numerics:
        Least squares on binary logarithms in float64; the interval is the central 95 % of 1000
        bootstrap resamples of the networks, the same at all places, from a fixed seed.

    Example:
        >>> print(exponent([1, 2, 4], [[3, 3], [6, 6], [12, 12]]))
        1.00 (1.00 to 1.00, n = 2)
    """
    return _fitted(np.log2(np.asarray(x, dtype=np.float64)), counts)


def rate(x: Sequence[float], counts: ArrayLike) -> Estimate:
    """Rate k of counts growing like 2^(k x): slope of binary log mean count against x.

    Example:
        >>> print(rate([1, 2, 3], [[2, 2], [4, 4], [8, 8]]))
        1.00 (1.00 to 1.00, n = 2)
    """
    return _fitted(np.asarray(x, dtype=np.float64), counts)


def _fitted(x: NDArray[np.float64], counts: ArrayLike) -> Estimate:
    values = np.asarray(counts, dtype=np.float64)
    n = values.shape[1]
    chosen = np.random.default_rng(1).integers(0, n, (_N_RESAMPLES, n))
    slopes = _slope(x, values[:, chosen].mean(axis=2))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(slopes, [tail, 1 - tail])
    return Estimate(float(_slope(x, values.mean(axis=1)[:, None])[0]), float(low), float(high), n)


def _slope(x: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares slopes of the logarithms of each column."""
    centred = x - x.mean()
    return centred @ np.log2(means) / (centred @ centred)
