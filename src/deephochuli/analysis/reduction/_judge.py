"""One gradient, exactly: its mean, whose contribution leaves no trace, what came back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from deephochuli.formats import Format, format_of_dtype, get_format, round_array, round_scalar

_FEW = 32
_NARROW = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one gradient.

    Attributes:
        n_contributions: Ranks with a gradient that is not zero.
        n_traceless: Of these, ranks without which the rounded exact mean would be the same.
        is_rounded: The result is the exact mean, rounded once.
        error: |result - exact mean| / |exact mean|, in unit roundoffs; nan where the mean is zero.
        is_overflow: The result is not finite, and the exact mean is within the format.
    """

    n_contributions: int
    n_traceless: int
    is_rounded: bool
    error: float
    is_overflow: bool


def judge(contributions: Sequence[float], result: float, fmt: Format) -> Judged | None:
    """Compare a result with the exact mean of what the ranks contributed.

    Args:
        contributions: Gradient of each rank.
        result: What the reduction made of them.
        fmt: Format in which the result is kept.

    Returns:
        What became of the gradient; None if a contribution is not finite.

    Numerics:
        The mean is a rational number (`fractions`), rounded to nearest even by `round_scalar`, so
        every count is exact.

    Example:
        >>> judge([1.0, 2.0**-12], 0.5, get_format("bf16"))
        Judged(n_contributions=2, n_traceless=1, is_rounded=True, error=0.06..., is_overflow=False)
    """
    if not all(map(math.isfinite, contributions)):
        return None
    shares = [Fraction(value) / len(contributions) for value in contributions]
    mean = sum(shares, Fraction())
    rounded = round_scalar(mean, fmt)
    given = [share for share in shares if share]
    traceless = sum(round_scalar(mean - share, fmt) == rounded for share in given)
    is_finite = math.isfinite(result)
    error = math.nan
    if mean and is_finite:
        error = float(abs(Fraction(result) - mean) / abs(mean) / Fraction(fmt.unit_roundoff))
    return Judged(
        n_contributions=len(given),
        n_traceless=traceless,
        is_rounded=result == rounded,
        error=error,
        is_overflow=not is_finite and math.isfinite(rounded),
    )


def format_of_results(results: NDArray[np.float64], dtype: str) -> Format:
    """The format in which a reduction was made: that of the bucket, or a narrower one.

    A hook that compresses gradients returns numbers of the narrow format in the wide type. Where
    all of many results are such numbers, that is what they are.
    """
    wide = format_of_dtype(dtype)
    finite = results[np.isfinite(results) & (results != 0)]
    for name in _NARROW if len(finite) >= _FEW else ():
        narrow = get_format(name)
        if narrow.bits < wide.bits and np.array_equal(round_array(finite, narrow), finite):
            return narrow
    return wide
