"""The magnitudes that a leading-bit key stands for: one of them, or an open interval."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import INFINITY, edge_of, edges_of, key_of

# The largest even key of finite magnitudes.
_TOP = INFINITY - 2


def middles_of(keys: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The magnitude of each even finite key; the middle of each odd one's interval."""
    lower = edges_of(keys)
    upper = edges_of(np.where(keys % 2 == 0, keys, np.minimum(keys + 1, _TOP)).astype(np.uint16))
    return lower + 0.5 * (upper - lower)


def upper_end(key: int) -> float:
    """The largest magnitude that a finite key may stand for."""
    return edge_of(key) if key % 2 == 0 else math.nextafter(edge_of(key + 1), 0.0)


def key_around(bound: Fraction) -> tuple[int, bool]:
    """The key whose value or open interval holds a positive bound, and whether it is an edge."""
    try:
        nearest = float(bound)
    except OverflowError:
        return INFINITY, False
    floor = nearest if Fraction(nearest) <= bound else math.nextafter(nearest, 0.0)
    key = key_of(floor)
    exact = Fraction(floor) == bound
    return (key, True) if exact and key % 2 == 0 else (key | 1, False)
