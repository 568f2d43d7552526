"""Lattices that numbers lie on, read off their bits: ulps, lowest set bits, trailing zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deephochuli.formats import Format

Floats = NDArray[np.float64]

_PRECISION = 53


def lowest_bits(x: Floats) -> Floats:
    """The largest power of two of which each number is a whole multiple; inf for zero.

    Args:
        x: Finite numbers, float64, any shape.

    Numerics:
        Exact: the lowest set bit of the integer significand, i & -i.

    Example:
        >>> lowest_bits(np.array([0.75, 6.0, 0.0])).tolist()
        [0.25, 2.0, inf]
    """
    fraction, exponent = np.frexp(np.abs(x))
    significand = np.ldexp(fraction, _PRECISION).astype(np.int64)
    lowest = np.ldexp((significand & -significand).astype(np.float64), exponent - _PRECISION)
    return np.where(significand == 0, np.inf, lowest)


def ulps(x: Floats, fmt: Format) -> Floats:
    """Gap of a format in the binade of each number, 2^(max(floor(log2|x|), emin) - (p - 1)).

    Args:
        x: Finite numbers, float64, any shape; zero lies in the lowest binade.
        fmt: The format.

    Numerics:
        Exact powers of two. Below 2^-1074 a gap is given as that number.

    Example:
        >>> from deephochuli.formats import BINARY32
        >>> np.log2(ulps(np.array([1.0, -0.1, 0.0]), BINARY32)).tolist()
        [-23.0, -27.0, -149.0]
    """
    exponent = np.frexp(np.abs(x))[1].astype(np.int64) - 1
    exponent = np.where(x == 0, fmt.emin, np.maximum(exponent, fmt.emin))
    return np.ldexp(1.0, np.maximum(exponent - (fmt.precision - 1), -1074))


def trailing_zeros(x: Floats, fmt: Format) -> NDArray[np.int64]:
    """Zero bits at the end of each number's integer significand in a format.

    Args:
        x: Nonzero numbers of the format, float64, any shape.
        fmt: Format in which they are held.

    Numerics:
        log2(lowest bit / ulp), exact. Without a lattice each bit is zero with probability 1/2, so
        the count is geometric.

    Example:
        >>> from deephochuli.formats import BFLOAT16
        >>> trailing_zeros(np.array([1.0, 1 + 2.0**-7, 1.5]), BFLOAT16).tolist()
        [7, 0, 6]
    """
    return np.rint(np.log2(lowest_bits(x)) - np.log2(ulps(x, fmt))).astype(np.int64)
