"""How a row of counters lies in the memory of a GPU, and what it says.

A row, in 64-bit words: counters of sign, exponent, 3 significand bits and sticky bit; counters of
23 subnormal binades for each sign; then sum, sum of squares, and the extremes of the magnitudes as
numbers that grow from zero: NO_LOW - smallest, largest + 1. The kernels in Triton and in
``count.cu`` are written for the same numbers.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels._contract import ChannelCounts, Summary, UpdateSummary
from deephochuli.kernels._key import INFINITY, NAN, SIGN
from deephochuli.kernels._layout import FLOAT8_TYPES

N_MAIN = 1 << 13
TINY_HALF = 23 * 16
SUM_AT = N_MAIN + 2 * TINY_HALF
LOW_AT = SUM_AT + 2
ROW_WORDS = SUM_AT + 4
# What an update has beside its three rows: exponent differences, updatable and unmoved elements.
N_RATIOS = 1 << 10
RATIO_ZERO = 1 << 9
EXTRA_WORDS = N_RATIOS + 2
NO_LOW = 0x7FFFFFFF  # magnitudes have 31 bits

BINARY32, BFLOAT16, BINARY16, TABLE8 = 0, 2, 3, 4
KINDS: dict[torch.dtype, int] = {
    torch.float32: BINARY32,
    torch.bfloat16: BFLOAT16,
    torch.float16: BINARY16,
    **dict.fromkeys(FLOAT8_TYPES, TABLE8),
}
"""Element types that kernels know; the codes of eight-bit ones are looked up in a table."""


@functools.cache
def _keys() -> NDArray[np.uint16]:
    """The leading-bit key of each counter of a row; NaN for the many that no number has."""
    index = np.arange(N_MAIN)
    exponent = (index >> 4) & 255
    keys = ((index >> 12) << 15) | ((exponent + 896) << 4) | (index & 15)
    keys[exponent == 0] = (index[exponent == 0] >> 12) << 15
    keys[exponent == 255] = NAN
    for sign, at in ((0, 255 << 4), (SIGN, (1 << 12) | (255 << 4))):
        keys[at] = sign | INFINITY
    tiny = np.arange(TINY_HALF) + (874 << 4)
    return np.concatenate([keys, tiny, tiny | SIGN]).astype(np.uint16)


def summary_of(words: NDArray[np.int64], channels: ChannelCounts | None = None) -> Summary:
    """Make a row readable."""
    at = np.flatnonzero(words[:SUM_AT])
    keys, place = np.unique(_keys()[at], return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, place, words[at])
    total, squares = words[SUM_AT : SUM_AT + 2].view(np.float64).tolist()
    below, above = words[LOW_AT : LOW_AT + 2].tolist()
    low, high = _value(NO_LOW - below if below else None), _value(above - 1 if above else None)
    return Summary(keys, counts, total, squares, low, high, channels)


def _value(pattern: int | None) -> float:
    """The magnitude with a binary32 pattern, whatever the flush-to-zero flags; NaN for none."""
    if pattern is None:
        return float("nan")
    exponent, fraction = pattern >> 23, pattern & 0x7FFFFF
    if exponent == 0:
        return math.ldexp(fraction, -149)
    return math.ldexp(fraction | 0x800000, exponent - 150)


def update_summary_of(
    rows: NDArray[np.int64], extra: NDArray[np.int64], *, has_gradient: bool
) -> UpdateSummary:
    """Make the three rows of an optimizer step readable, and what is beside them."""
    ratios = np.flatnonzero(extra[:N_RATIOS])
    return UpdateSummary(
        summary_of(rows[0]),
        summary_of(rows[1]) if has_gradient else None,
        summary_of(rows[2]),
        int(extra[N_RATIOS]),
        int(extra[N_RATIOS + 1]),
        (ratios - RATIO_ZERO).astype(np.int16),
        extra[ratios].copy(),
    )
