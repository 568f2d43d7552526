"""Compiled: exact sums in integers, wide enough for every binary64 number (Kulisch)."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels.addends._lattice import INNER, OPTIONS, bits_of

N_LIMBS = 70
"""Limbs of 32 bits from 2^-1074 on, in 64-bit integers: 2^30 numbers fit without a carry."""

_LOW = np.int64(0xFFFFFFFF)
_FRACTION = np.int64((1 << 52) - 1)
_SPLIT = 134217729.0  # 2^27 + 1 (Veltkamp)


@nb.njit(**INNER)
def put(limbs, x):
    """Add a finite number to an accumulator."""
    if x == 0.0:
        return
    bits = bits_of(x)
    field = (bits >> 52) & 0x7FF
    significand = bits & _FRACTION
    if field:
        significand |= np.int64(1) << 52
    at = max(field, 1) - 1  # bits above 2^-1074
    limb, shift = at >> 5, at & 31
    low = (significand & _LOW) << shift
    high = (significand >> 32) << shift
    sign = -1 if bits < 0 else 1
    limbs[limb] += sign * (low & _LOW)
    limbs[limb + 1] += sign * ((low >> 32) + (high & _LOW))
    limbs[limb + 2] += sign * (high >> 32)


@nb.njit(**INNER)
def low_product(a, b, product):
    """What a product of binary64 numbers loses by rounding (Dekker, 1971)."""
    t = _SPLIT * a
    a_high = t - (t - a)
    t = _SPLIT * b
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@nb.njit(**OPTIONS)
def accumulate_rows(a, b, has_factors, limbs):
    """Add up each row of `a`, or of `a` times `b`, exactly."""
    for row in range(a.shape[0]):
        for k in range(a.shape[1]):
            if has_factors:
                x = a[row, k] * b[row, k]
                put(limbs[row], x)
                put(limbs[row], low_product(a[row, k], b[row, k], x))
            else:
                put(limbs[row], a[row, k])


@nb.njit(**INNER)
def carry(limbs):
    """Bring the limbs of a number that is not negative into 0 to 2^32 - 1."""
    for i in range(N_LIMBS - 1):
        limbs[i + 1] += limbs[i] >> 32
        limbs[i] &= _LOW


@nb.njit(**INNER)
def value_of(limbs):
    """The accumulated number, of which at least 64 bits are read; limbs are changed."""
    carry(limbs)
    sign = 1.0
    if limbs[N_LIMBS - 1] < 0:
        sign = -1.0
        for i in range(N_LIMBS):
            limbs[i] = -limbs[i]
        carry(limbs)
    top = N_LIMBS - 1
    while top > 0 and limbs[top] == 0:
        top -= 1
    value = 0.0
    for i in range(top, max(-1, top - 4), -1):
        # In two factors: the first limb lies among the subnormals of binary64.
        value += np.ldexp(np.float64(limbs[i]), 32 * i - 1074)
    return sign * value


@nb.njit(**OPTIONS)
def value_rows(limbs, subtracted, out):
    """The accumulated numbers minus some binary64 numbers; nan where that is not finite."""
    work = np.empty(N_LIMBS, np.int64)
    for row in range(limbs.shape[0]):
        work[:] = limbs[row]
        if np.isfinite(subtracted[row]):
            put(work, -subtracted[row])
            out[row] = value_of(work)
        else:
            out[row] = np.nan
