"""Compiled: sums as tensor cores form them, with what is cut off whole when terms are aligned."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels.addends._lattice import INNER, OPTIONS, bits_of, rounded
from deephochuli.kernels.addends._loops import (
    LOST,
    MASS,
    N_ABSORBED,
    N_ADDENDS,
    N_ADDITIONS,
    RESULT,
    add,
    limited,
)

_NONE = -9999


@nb.njit(**INNER)
def exponent_of(x, emin):
    """Exponent of a number of a format with this smallest one; of zero, below all others."""
    if x == 0.0:
        return _NONE
    return max(((bits_of(x) >> 52) & 0x7FF) - 1023, emin)


@nb.njit(**INNER)
def cut(x, unit, floors, counts, values):
    """A term in whole units, the rest cut off; count it where nothing is left."""
    if x == 0.0:
        return 0.0
    whole = np.floor(x / unit) if floors else np.trunc(x / unit)
    counts[N_ADDITIONS] += 1
    if whole == 0.0:
        counts[N_ABSORBED] += 1
        values[LOST] += abs(x)
    return whole


@nb.njit(**INNER)
def block_sum(a, b, total, start, stop, plan, fmt, counts, values):
    """Align a block of products and the sum so far, add them exactly, round once."""
    input_emin, fraction_bits, zero_exponent, floors = plan
    precision, emin, largest_number, beyond, is_truncated = fmt
    largest = max(exponent_of(total, emin), zero_exponent)
    for k in range(start, stop):
        if a[k] != 0.0 and b[k] != 0.0:
            both = exponent_of(a[k], input_emin) + exponent_of(b[k], input_emin)
            largest = max(largest, both)
    unit = np.ldexp(1.0, largest - fraction_bits)
    before = counts[N_ADDITIONS]
    units = cut(total, unit, floors, counts, values)
    for k in range(start, stop):
        x = a[k] * b[k]
        if x != 0.0:
            counts[N_ADDENDS] += 1
            values[MASS] += abs(x)
            units += cut(x, unit, floors, counts, values)
    if counts[N_ADDITIONS] > before:  # n terms are joined by n - 1 additions
        counts[N_ADDITIONS] -= 1
    value = rounded(units * unit, precision, emin, is_truncated)
    return limited(value, largest_number, beyond, counts)


@nb.njit(**OPTIONS)
def aligned_rows(a, b, plan, block, chunk, fmt, outer, counts, values):
    """Replay the sum of the products of each row of `a` and `b`; a `chunk` of 0 is all of them."""
    n_terms = a.shape[1]
    for row in range(a.shape[0]):
        c, v = counts[row], values[row]
        total, part, left = 0.0, 0.0, chunk
        for start in range(0, n_terms, block):
            stop = min(start + block, n_terms)
            part = block_sum(a[row], b[row], part, start, stop, plan, fmt, c, v)
            left -= block
            if chunk > 0 and (left <= 0 or stop == n_terms):
                total, part, left = add(total, part, outer, c, v), 0.0, chunk
            if not np.isfinite(part):
                break
        v[RESULT] = total if chunk > 0 else part
