"""Compiled: one addition, rounded once to a format with unbounded exponents above.

All numbers are binary64. A sum of two of them is first rounded to odd, from which any rounding to
at most 51 bits is the rounding of the exact sum (Boldo, Melquiond, 2008).
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}
"""Of functions that Python calls."""

INNER: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True}
"""Of functions that are called by compiled ones alone."""

_ABS = np.int64(0x7FFFFFFFFFFFFFFF)
_FRACTION = np.int64((1 << 52) - 1)
_LEADING = np.int64(1 << 52)


@nb.njit(**INNER)
def bits_of(x):
    """The pattern of a binary64 number."""
    return np.float64(x).view(np.int64)


@nb.njit(**INNER)
def number_of(bits):
    """The binary64 number of a pattern."""
    return np.int64(bits).view(np.float64)


@nb.njit(**INNER)
def rounded(x, precision, emin, is_truncated):
    """Round a finite number to `precision` bits, to nearest even or toward zero."""
    if precision >= 53 or x == 0.0:
        return x
    magnitude = bits_of(x) & _ABS
    exponent = (magnitude >> 52) - 1023
    if exponent == -1023:  # subnormal in binary64: far below every narrower format
        return 0.0
    n_cut = 53 - precision + max(0, emin - exponent)
    if n_cut > 54:
        return 0.0
    significand = (magnitude & _FRACTION) | _LEADING
    kept = significand >> n_cut
    if not is_truncated:
        rest = significand - (kept << n_cut)
        half = np.int64(1) << (n_cut - 1)
        if rest > half or (rest == half and kept & 1):
            kept += 1
    value = float(kept) * number_of((exponent - 52 + n_cut + 1023) << 52)
    return -value if x < 0.0 else value


@nb.njit(**INNER)
def sum_to_odd(a, b):
    """The exact sum rounded to odd: the sum itself, or its neighbour with an odd last bit."""
    s = a + b
    t = s - a
    error = (a - (s - t)) + (b - t)
    if error == 0.0:
        return s
    bits = bits_of(s)
    if bits & 1:
        return s
    return number_of(bits + 1) if (error > 0.0) == (s > 0.0) else number_of(bits - 1)


@nb.njit(**INNER)
def added(a, b, precision, emin, is_truncated):
    """The exact sum of two finite numbers, rounded once."""
    if precision < 53:
        return rounded(sum_to_odd(a, b), precision, emin, is_truncated)
    s = a + b
    if is_truncated:
        t = s - a
        error = (a - (s - t)) + (b - t)
        if error != 0.0 and (error > 0.0) != (s > 0.0):
            return number_of(bits_of(s) - 1)
    return s
