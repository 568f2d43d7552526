"""Inner loops of the CPU back end: one block of elements, resident in the L1 cache, at a time.

Each block is read from memory once and then gone over in L1 by a few loops that LLVM vectorises:

1. moments: sum and sum of squares in binary64, extreme magnitudes, how many elements are edges;
2. counts of leading-bit keys, in four private histograms so that neighbouring elements with equal
   keys do not wait for each other's store;
3. counts per channel, when asked for.

Blocks that hold only zeros and normal numbers (all but a few) take these fast loops; a block with
a subnormal, infinite or NaN element is counted one element at a time, from the bits alone, so that
flush-to-zero flags cannot hide anything. Narrow types are widened to binary32 bits first.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

u16, u32, u64 = np.uint16, np.uint32, np.uint64

BLOCK = 4096
COPIES = 4
# Rows of the private histograms are staggered: equal keys must not share the low 12 address bits.
MAIN32 = 8192 + 208
MAIN64 = 65536 + 208

ABS32, INF32, TINY32 = u32(0x7FFFFFFF), u32(0x7F800000), u32(0x00800000)
ABS64, INF64 = u64(0x7FFFFFFFFFFFFFFF), u64(0x7FF0000000000000)
TINY64 = u64(0x0010000000000000)
LOW20, LOW49 = u32(0xFFFFF), u64((1 << 49) - 1)
NAN_KEY = 0x7FF8

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    # Sums may be reassociated (the order is fixed by the block, not by threads); nothing else.
    "fastmath": {"reassoc", "contract", "nsz"},
}


@nb.njit(**OPTIONS)
def moments32(bits):
    """Return sum, sum of squares, min(bits - 1) (so zero never wins), max bits, edges, zeros."""
    total = squares = 0.0
    low, high = u32(0xFFFFFFFF), u32(0)
    edges, zeros = u32(0), u32(0)
    for i in range(bits.size):
        magnitude = u32(bits[i] & ABS32)
        value = np.float64(u32(bits[i]).view(np.float32))
        total += value
        squares += value * value
        high = max(high, magnitude)
        low = min(low, u32(magnitude - u32(1)))
        edges = u32(edges + u32((magnitude & LOW20) == u32(0)))
        zeros = u32(zeros + u32(magnitude == u32(0)))
    return total, squares, low, high, edges, zeros


@nb.njit(**OPTIONS)
def finite_moments32(bits):
    """The same sums and extremes over the finite elements only."""
    total = squares = 0.0
    low, high = u32(0xFFFFFFFF), u32(0)
    any_finite = False
    for i in range(bits.size):
        magnitude = u32(bits[i] & ABS32)
        if magnitude < INF32:
            value = np.float64(u32(bits[i]).view(np.float32))
            total += value
            squares += value * value
            high = max(high, magnitude)
            low = min(low, u32(magnitude - u32(1)))
            any_finite = True
    return total, squares, low, high, any_finite


@nb.njit(**OPTIONS)
def count_plain32(bits, main):
    """Count keys of a block without edges other than zero; zeros land on index 1 of their sign."""
    pairs = bits.size & ~3
    for i in range(0, pairs, 4):
        main[0, 2 * (bits[i] >> u32(20)) + 1] += u32(1)
        main[1, 2 * (bits[i + 1] >> u32(20)) + 1] += u32(1)
        main[2, 2 * (bits[i + 2] >> u32(20)) + 1] += u32(1)
        main[3, 2 * (bits[i + 3] >> u32(20)) + 1] += u32(1)
    for i in range(pairs, bits.size):
        main[0, 2 * (bits[i] >> u32(20)) + 1] += u32(1)


@nb.njit(**OPTIONS)
def sticky32(b):
    """Top 12 bits and the sticky bit: the index of an element in a 13-bit histogram."""
    return 2 * (b >> u32(20)) + np.int64((b & LOW20) != u32(0))


@nb.njit(**OPTIONS)
def count_sticky32(bits, main):
    """Count keys of a block that may hold edges."""
    pairs = bits.size & ~3
    for i in range(0, pairs, 4):
        main[0, sticky32(bits[i])] += u32(1)
        main[1, sticky32(bits[i + 1])] += u32(1)
        main[2, sticky32(bits[i + 2])] += u32(1)
        main[3, sticky32(bits[i + 3])] += u32(1)
    for i in range(pairs, bits.size):
        main[0, sticky32(bits[i])] += u32(1)


@nb.njit(**OPTIONS)
def key32(b):
    """The leading-bit key of any binary32 pattern, from integers alone."""
    sign = np.int64(b >> u32(31)) << 15
    magnitude = np.int64(b & ABS32)
    exponent, fraction = magnitude >> 23, magnitude & 0x7FFFFF
    if exponent == 255:
        return NAN_KEY if fraction != 0 else sign | 0x7FF0
    if magnitude == 0:
        return sign
    if exponent == 0:  # subnormal: shift the leading bit into place
        exponent = 1
        while fraction & 0x800000 == 0:
            fraction <<= 1
            exponent -= 1
        fraction &= 0x7FFFFF
    leading = ((exponent + 896) << 4) | ((fraction >> 20) << 1)
    return sign | leading | np.int64((fraction & 0xFFFFF) != 0)


@nb.njit(**OPTIONS)
def count_any32(bits, direct):
    """Count keys of any block, one element at a time."""
    for i in range(bits.size):
        direct[key32(bits[i])] += u32(1)


@nb.njit(**OPTIONS)
def moments64(bits):
    """Sum, sum of squares, min(bits - 1), max bits, edges and zeros of a binary64 block."""
    total = squares = 0.0
    low, high = u64(0xFFFFFFFFFFFFFFFF), u64(0)
    edges, zeros = u64(0), u64(0)
    for i in range(bits.size):
        magnitude = u64(bits[i] & ABS64)
        value = u64(bits[i]).view(np.float64)
        total += value
        squares += value * value
        high = max(high, magnitude)
        low = min(low, u64(magnitude - u64(1)))
        edges = u64(edges + u64((magnitude & LOW49) == u64(0)))
        zeros = u64(zeros + u64(magnitude == u64(0)))
    return total, squares, low, high, edges, zeros


@nb.njit(**OPTIONS)
def finite_moments64(bits):
    """The same sums and extremes over the finite elements only."""
    total = squares = 0.0
    low, high = u64(0xFFFFFFFFFFFFFFFF), u64(0)
    any_finite = False
    for i in range(bits.size):
        magnitude = u64(bits[i] & ABS64)
        if magnitude < INF64:
            value = u64(bits[i]).view(np.float64)
            total += value
            squares += value * value
            high = max(high, magnitude)
            low = min(low, u64(magnitude - u64(1)))
            any_finite = True
    return total, squares, low, high, any_finite


@nb.njit(**OPTIONS)
def sticky64(b):
    """The leading-bit key of a finite binary64 pattern."""
    return 2 * np.int64(b >> u64(49)) + np.int64((b & LOW49) != u64(0))


@nb.njit(**OPTIONS)
def count_sticky64(bits, main):
    """Count keys of a finite binary64 block."""
    pairs = bits.size & ~1
    for i in range(0, pairs, 2):
        main[0, sticky64(bits[i])] += u32(1)
        main[1, sticky64(bits[i + 1])] += u32(1)
    for i in range(pairs, bits.size):
        main[0, sticky64(bits[i])] += u32(1)


@nb.njit(**OPTIONS)
def count_any64(bits, direct):
    """Count keys of any binary64 block, NaNs under their one key."""
    for i in range(bits.size):
        if (bits[i] & ABS64) > INF64:
            direct[NAN_KEY] += u32(1)
        else:
            direct[sticky64(bits[i])] += u32(1)


@nb.njit(**OPTIONS)
def widen_bfloat16(narrow, wide):
    """Bfloat16 patterns to binary32 patterns."""
    for i in range(narrow.size):
        wide[i] = u32(narrow[i]) << u32(16)


@nb.njit(**OPTIONS)
def widen_binary16(narrow, wide):
    """Binary16 patterns to binary32 patterns; exact, and independent of flush-to-zero."""
    renormaliser = u32(113 << 23)
    for i in range(narrow.size):
        half = u32(narrow[i])
        magnitude = u32((half & u32(0x7FFF)) << u32(13))
        exponent = magnitude & u32(0x0F800000)
        normal = u32(magnitude + u32(112 << 23))
        special = u32(magnitude + u32(224 << 23))
        shifted = u32(magnitude + renormaliser).view(np.float32) - renormaliser.view(np.float32)
        subnormal = np.float32(shifted).view(np.uint32)
        finite = subnormal if exponent == u32(0) else normal
        body = special if exponent == u32(0x0F800000) else finite
        wide[i] = u32(body | ((half & u32(0x8000)) << u32(16)))


@nb.njit(**OPTIONS)
def widen_table(narrow, table, wide):
    """Eight-bit codes to binary32 patterns through a table of 256."""
    for i in range(narrow.size):
        wide[i] = table[narrow[i]]


@nb.njit(**OPTIONS)
def _channel_planes(bits, start, inner, out, absolute, infinite, one, has_zero, has_special):
    """Channel counts where each channel's elements lie in runs of ``inner``."""
    n_channels = out.shape[1]
    i = 0
    while i < bits.size:
        plane = (start + i) // inner
        stop = min(bits.size, i + (plane + 1) * inner - (start + i))
        channel = plane % n_channels
        run = bits[i:stop]
        positive = u32(0)
        for j in range(run.size):
            positive = u32(positive + u32((run[j] - one) < infinite - one))
        out[0, channel] += positive
        if has_zero:
            zeros = u32(0)
            for j in range(run.size):
                zeros = u32(zeros + u32((run[j] & absolute) == absolute - absolute))
            out[1, channel] += zeros
        if has_special:
            for j in range(run.size):
                out[2, channel] += u32((run[j] & absolute) >= infinite)
        i = stop


@nb.njit(**OPTIONS)
def _channel_rows(bits, start, out, absolute, infinite, one, has_zero, has_special):
    """Channel counts where the channel is the fastest dimension."""
    n_channels = out.shape[1]
    i, channel = 0, start % n_channels
    while i < bits.size:
        stop = min(bits.size, i + n_channels - channel)
        run = bits[i:stop]
        positive = out[0, channel : channel + run.size]
        for j in range(run.size):
            positive[j] += u32((run[j] - one) < infinite - one)
        if has_zero:
            zero = out[1, channel : channel + run.size]
            for j in range(run.size):
                zero[j] += u32((run[j] & absolute) == absolute - absolute)
        if has_special:
            special = out[2, channel : channel + run.size]
            for j in range(run.size):
                special[j] += u32((run[j] & absolute) >= infinite)
        i, channel = stop, 0


@nb.njit(**OPTIONS)
def count_channels32(bits, start, inner, out, has_zero, has_special):
    """Add a binary32 block to the channel counts (rows: positive, zero, not finite).

    ``start`` is the flat index of the block's first element; ``inner`` the stride of the channel
    dimension in elements.
    """
    if inner == 1:
        _channel_rows(bits, start, out, ABS32, INF32, u32(1), has_zero, has_special)
    else:
        _channel_planes(bits, start, inner, out, ABS32, INF32, u32(1), has_zero, has_special)


@nb.njit(**OPTIONS)
def count_channels64(bits, start, inner, out, has_zero, has_special):
    """The same for a binary64 block."""
    if inner == 1:
        _channel_rows(bits, start, out, ABS64, INF64, u64(1), has_zero, has_special)
    else:
        _channel_planes(bits, start, inner, out, ABS64, INF64, u64(1), has_zero, has_special)
