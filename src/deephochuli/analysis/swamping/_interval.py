"""Ratios from sampled outputs, with intervals that know that additions come in outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio over all outputs, estimated from some.

    Attributes:
        value: The estimate; nan where there is nothing to divide by.
        low: Lower end of the confidence interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def ratio(
    part: npt.ArrayLike, whole: npt.ArrayLike, n_population: int, confidence: float
) -> Estimate:
    """Estimate sum(part) / sum(whole) over a population of outputs from a sample of them.

    Args:
        part: Numerators, one for each sampled output, from 0 to its denominator.
        whole: Denominators.
        n_population: Outputs altogether; where all were sampled the interval is a point.
        confidence: Of the two-sided interval.

    Numerics:
        Additions of one output are not independent, outputs are the clusters: the variance is that
        of the ratio estimator, sum (part - r whole)^2 / ((n - 1) n mean(whole)^2), with the finite
        population correction (Cochran, Sampling Techniques, 1977, section 6.4), and the interval is
        symmetric in the logarithm. Where no output shows anything, the upper end is the share of
        outputs that could still show something, 1 - (1 - confidence)^(1/n), as if they showed it in
        all of their additions: nothing tighter holds without independence.
    """
    a, b = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    n, total = len(a), float(b.sum())
    if not total:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(a.sum()) / total
    if n >= n_population:
        return Estimate(value, value, value)
    if not value:
        return Estimate(0.0, 0.0, 1 - (1 - confidence) ** (1 / n))
    if n < 2:
        return Estimate(value, 0.0, 1.0)
    variance = float(((a - value * b) ** 2).sum()) / (n - 1) / n / (total / n) ** 2
    error = math.sqrt(variance * (1 - n / n_population)) / value
    spread = math.exp(min(700.0, NormalDist().inv_cdf((1 + confidence) / 2) * error))
    return Estimate(value, value / spread, min(1.0, value * spread))
