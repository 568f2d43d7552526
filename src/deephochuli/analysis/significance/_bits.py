"""How many bits are significant, and how sure that is, from the spread of a few samples.

Sohier, Castro, Fevotte, Lathuiliere, Petit, Jamond, "Confidence intervals for stochastic
arithmetic", ACM TOMS 47(2), 2021: under the centered normality hypothesis (CNH) a result is normal
around its expected value; without it, only the successes of the samples are counted (Bernoulli).
"""

# Special functions of torch have no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

Sides = Literal["one", "two"]


@functools.cache
def chi_squared_quantile(share: float, n_free: int) -> float:
    """The number below which a chi-squared variable with `n_free` degrees of freedom lies.

    Args:
        share: Probability of lying below it, in (0, 1).
        n_free: Degrees of freedom, at least 1.

    Numerics:
        Bisection on the regularised incomplete gamma function of torch: about nine digits.
    """
    half = torch.tensor(n_free / 2, dtype=torch.float64, device="cpu")
    low, high = 0.0, n_free + 10 * math.sqrt(2 * n_free) + 100.0
    for _ in range(200):
        middle = (low + high) / 2
        x = torch.tensor(middle / 2, dtype=torch.float64, device="cpu")
        if float(torch.special.gammainc(half, x)) < share:
            low = middle
        else:
            high = middle
        if high - low <= math.ulp(high):
            break
    return (low + high) / 2


def deviation_factor(n_samples: int, confidence: float, *, sides: Sides = "one") -> float:
    """What the sample deviation is multiplied by so that it bounds the true one from above.

    It is sqrt((n - 1) / q) with q the quantile of the chi-squared law with n - 1 degrees of freedom
    at 1 - confidence ("one"), or at (1 - confidence) / 2, the upper end of a two-sided interval, as
    Sohier et al. and the package significantdigits have it ("two").

    Numerics:
        Exact for normal samples: the true deviation lies below the bound with probability
        `confidence` ("one"), or 1 - (1 - confidence) / 2 ("two").
    """
    tail = (1 - confidence) / (1 if sides == "one" else 2)
    return math.sqrt((n_samples - 1) / chi_squared_quantile(tail, n_samples - 1))


def reach(probability: float) -> float:
    """How many deviations around its mean a normal variable keeps to with some probability."""
    return NormalDist().inv_cdf((probability + 1) / 2)


def penalty_bits(
    n_samples: int, probability: float, confidence: float, *, sides: Sides = "one"
) -> float:
    """Bits between -log2(deviation / mean) of the samples and the bits that can be guaranteed.

    Example:
        >>> [round(penalty_bits(n, 0.95, 0.95), 2) for n in (3, 4, 8, 16)]
        [3.11, 2.52, 1.82, 1.49]
    """
    factor = deviation_factor(n_samples, confidence, sides=sides)
    return math.log2(factor) + math.log2(reach(probability))


def bernoulli_probability(n_samples: int, confidence: float) -> float:
    """Probability that a further sample agrees as well as all of `n_samples` did.

    With this much confidence it is at least (1 - confidence)^(1/n), whatever the law.

    Example:
        >>> round(bernoulli_probability(8, 0.95), 3)
        0.688
    """
    return (1 - confidence) ** (1 / n_samples)


def estimated_bits(mean: Tensor, deviation: Tensor, precision: int) -> Tensor:
    """-log2(deviation / |mean|), from 0 to `precision`, which stands where nothing differs.

    Args:
        mean: Means of the samples, not zero.
        deviation: Their standard deviations (with n - 1).
        precision: p of the format: more bits than it has cannot be told apart.
    """
    bits = torch.log2(mean.double().abs()) - torch.log2(deviation.double())
    return bits.clamp(0, precision).masked_fill(deviation == 0, precision)


def agreed_bits(mean: Tensor, largest: Tensor, precision: int) -> Tensor:
    """-log2(max |x_i - mean| / |mean|): the bits to which all samples agree with their mean."""
    return estimated_bits(mean, largest, precision)
