"""Compiled: the additions of one reduction in one order, with what each of them swallows."""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic
# ruff: noqa: ANN001, ANN202
from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels.addends._lattice import INNER, OPTIONS, added, rounded

N_ADDENDS, N_ADDITIONS, N_ABSORBED, N_UNDERFLOWED, N_OVERFLOWED = 0, 1, 2, 3, 4
N_COUNTS = 5
RESULT, LOST, MASS = 0, 1, 2
N_VALUES = 3


@nb.njit(**INNER)
def add(a, b, fmt, counts, values):
    """Add two numbers in a format, and count what happens.

    `fmt` is (precision, emin, largest, beyond, is_truncated): what stands beyond the largest number
    is `beyond` with the sign of the sum.
    """
    precision, emin, largest, beyond, is_truncated = fmt
    if a == 0.0 and b == 0.0:
        return 0.0
    if not (np.isfinite(a) and np.isfinite(b)):  # overflowed before: nothing can be swallowed
        return a + b
    total = added(a, b, precision, emin, is_truncated)
    if a != 0.0 and b != 0.0:
        counts[N_ADDITIONS] += 1
        large, small = (a, b) if abs(a) >= abs(b) else (b, a)
        # A product that is not rounded before (FMA) need not be a number of the format.
        if total == rounded(large, precision, emin, is_truncated):
            counts[N_ABSORBED] += 1
            values[LOST] += abs(small)
    return limited(total, largest, beyond, counts)


@nb.njit(**INNER)
def limited(x, largest, beyond, counts):
    """Replace a number beyond the largest one."""
    if abs(x) > largest:
        counts[N_OVERFLOWED] += 1
        return beyond if x > 0.0 else -beyond
    return x


@nb.njit(**INNER)
def take(a, b, has_factors, is_fused, fmt, terms, counts, values):
    """Form the addends of one output."""
    precision, emin, largest, beyond, is_truncated = fmt
    for k in range(a.shape[0]):
        x = a[k] * b[k] if has_factors else a[k]
        values[MASS] += abs(x)
        if x != 0.0:
            counts[N_ADDENDS] += 1
            if not (is_fused and has_factors):
                y = rounded(x, precision, emin, is_truncated)
                if y == 0.0:
                    counts[N_UNDERFLOWED] += 1
                x = limited(y, largest, beyond, counts)
        terms[k] = x


@nb.njit(**INNER)
def tree(terms, fmt, counts, values):
    """Add neighbours, then neighbouring sums, in place; an odd one out is carried over."""
    n = terms.shape[0]
    while n > 1:
        half = n // 2
        for k in range(half):
            terms[k] = add(terms[2 * k], terms[2 * k + 1], fmt, counts, values)
        if n % 2:
            terms[half] = terms[n - 1]
        n = half + n % 2
    return terms[0]


@nb.njit(**INNER)
def chains(terms, block, fmt, counts, values):
    """Add neighbours one after the other, `block` of them at a time, and each sum to the total."""
    total, part, n_added = 0.0, 0.0, 0
    k, n_terms = 0, terms.shape[0]
    while k < n_terms or n_added:
        is_full = n_added == block or k == n_terms
        # One addition for both levels: compiled code holds a copy of it for each place of a call.
        left, right = (total, part) if is_full else (part, terms[k])
        s = add(left, right, fmt, counts, values)
        if is_full:
            total, part, n_added = s, 0.0, 0
        else:
            part, n_added, k = s, n_added + 1, k + 1
    return total


@nb.njit(**OPTIONS)
def replay_rows(a, b, has_factors, is_fused, fmt, is_tree, block, counts, values):
    """Replay the sum of each row of `a`, or of `a` times `b`; a block of all terms is one chain."""
    terms = np.empty(a.shape[1])
    for row in range(a.shape[0]):
        c, v = counts[row], values[row]
        take(a[row], b[row], has_factors, is_fused, fmt, terms, c, v)
        if is_tree and terms.shape[0]:
            v[RESULT] = tree(terms, fmt, c, v)
        else:
            v[RESULT] = chains(terms, block, fmt, c, v)
