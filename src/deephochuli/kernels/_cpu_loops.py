"""Loops of the CPU back end over one block of elements, resident in the L1 cache.

A block is read from memory once by ``_cpu_vectors.count32`` or ``count64``. What is rare is gone
over again here, element by element and from the bits alone, so that flush-to-zero flags cannot hide
anything: blocks with subnormal, infinite or NaN elements. Narrow types are widened to binary32
patterns first. Every address is an integer; ``p32(address)`` makes an array without bounds of it.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_memory import p8, p16, p32, p64, pf64, pi64, population
from deephochuli.kernels._cpu_vectors import (
    H32,
    H64,
    LANES,
    RATIO_ZERO,
    RATIOS,
    T_HIGH,
    T_LOW,
    T_SUM,
    T_SUM_SQ,
    T_ZEROS,
    compare_steps,
    count32,
    count64,
)

u16, u32, u64, i64, f32, f64 = np.uint16, np.uint32, np.uint64, np.int64, np.float32, np.float64

BLOCK = 4096
ABS32, INF32, TINY32 = u32(0x7FFFFFFF), u32(0x7F800000), u32(0x00800000)
ABS64, INF64 = u64(0x7FFFFFFFFFFFFFFF), u64(0x7FF0000000000000)
LOW49 = u64((1 << 49) - 1)
NONE = u64(0xFFFFFFFFFFFFFFFF)

# Scratch of one thread, in bytes from its start. Everything in it is zero between calls, but for
# the buffers. Sets: 0 data or weights, 1 gradients, 2 updates.
COUNTER_BYTES = 4 * max(H32.n_counters, H64.n_counters)
TINY_HALF = 23 * 16
TINY_BYTES = 4 * 2 * TINY_HALF
N_RATIOS, RATIO_COPIES, RATIO_STRIDE = RATIOS.n_bins, RATIOS.copies, RATIOS.stride
S_COUNTERS = 0
S_TINY = S_COUNTERS + 3 * COUNTER_BYTES
S_RATIOS = S_TINY + 3 * TINY_BYTES
S_EXTREMES = S_RATIOS + 4 * RATIO_COPIES * RATIO_STRIDE  # smallest - 1, largest + 1, special
S_STATS = S_EXTREMES + 8 * 3 * 3
S_TAIL = S_STATS + 64
S_INDICES = S_TAIL + 4 * 4 * LANES  # of four binary32 or two binary64 vectors
S_POSITIVE = S_INDICES + 2 * (BLOCK + LANES)
S_ZERO = S_POSITIVE + BLOCK // 8 + 8
S_WIDE = S_ZERO + BLOCK // 8 + 8
SLOT_BYTES = -(-(S_WIDE + 4 * 4 * BLOCK) // 4096) * 4096

# What a block holds: elements that are not finite, zeros.
SPECIAL, ZERO = 1, 2

# Element types of jobs.
BINARY32, BINARY64, BFLOAT16, BINARY16, TABLE8 = 0, 1, 2, 3, 4

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    # Sums may be reassociated (in an order that the block fixes, not the threads); nothing else.
    "fastmath": {"reassoc", "contract"},
}


@nb.njit(**OPTIONS)
def exact32(pattern):
    """A finite binary32 pattern as binary64 number, also where operands are flushed to zero."""
    magnitude = u32(pattern & ABS32)
    tiny = f64(magnitude) * 2.0**-149
    tiny = -tiny if pattern != magnitude else tiny
    return tiny if magnitude < TINY32 else f64(u32(pattern).view(f32))


@nb.njit(**OPTIONS)
def tiny_index(magnitude):
    """Place of a binary32 subnormal number among 16 keys in each of 23 binades."""
    bits = u64(f64(magnitude).view(u64))
    return (i64(bits >> u64(49)) << 1 | i64((bits & LOW49) != u64(0))) - (1023 << 4)


@nb.njit(**OPTIONS)
def count_tiny32(bits, n, tiny):
    """Count the keys of subnormal elements, which share few counters of the histogram."""
    for i in range(n):
        magnitude = u32(bits[i] & ABS32)
        if u32(magnitude - u32(1)) < TINY32 - u32(1):
            tiny[tiny_index(magnitude) + TINY_HALF * i64(bits[i] >> u32(31))] += u32(1)


@nb.njit(**OPTIONS)
def review32(bits, n, stats):
    """Redo the moments over finite elements, from the bits."""
    total = squares = 0.0
    low, high = u32(0xFFFFFFFF), u32(0)
    for i in range(n):
        magnitude = u32(bits[i] & ABS32)
        is_finite = magnitude < INF32
        value = exact32(bits[i]) if is_finite else 0.0
        total += value
        squares += value * value
        low = min(low, u32(magnitude - u32(1)) if is_finite else u32(0xFFFFFFFF))
        high = max(high, u32(magnitude + u32(1)) if is_finite else u32(0))
    pf64(stats)[T_SUM], pf64(stats)[T_SUM_SQ] = total, squares
    return u64(low), u64(high)


@nb.njit(**OPTIONS)
def review64(bits, n, stats):
    """Redo the moments over finite elements."""
    total = squares = 0.0
    low, high = NONE, u64(0)
    for i in range(n):
        magnitude = u64(bits[i] & ABS64)
        is_finite = magnitude < INF64
        value = u64(bits[i]).view(f64) if is_finite else 0.0
        total += value
        squares += value * value
        low = min(low, u64(magnitude - u64(1)) if is_finite else NONE)
        high = max(high, u64(magnitude + u64(1)) if is_finite else u64(0))
    pf64(stats)[T_SUM], pf64(stats)[T_SUM_SQ] = total, squares
    return low, high


@nb.njit(**OPTIONS)
def begin_stats(stats):
    """Set the statistics of a block to those of no element."""
    pf64(stats)[T_SUM] = pf64(stats)[T_SUM_SQ] = 0.0
    p64(stats)[T_LOW], p64(stats)[T_HIGH], p64(stats)[T_ZEROS] = NONE, u64(0), u64(0)


@nb.njit(**OPTIONS)
def end_stats(stats, low, high, special, moments, extremes):
    """Add the statistics of a block to those of its part and its set."""
    pf64(moments)[0] += pf64(stats)[T_SUM]
    pf64(moments)[1] += pf64(stats)[T_SUM_SQ]
    extreme = p64(extremes)
    extreme[0] = min(extreme[0] - u64(1), low) + u64(1)  # kept so that "none" is 0
    extreme[1] = max(extreme[1], high)
    extreme[2] |= u64(special)


def add_block32(bits, n, slot, which, moments):
    """Count a block of binary32 patterns; return the flags SPECIAL and ZERO as they apply."""
    stats, counters = slot + u64(S_STATS), slot + u64(S_COUNTERS + which * COUNTER_BYTES)
    positive, zero, indices = slot + u64(S_POSITIVE), slot + u64(S_ZERO), slot + u64(S_INDICES)
    begin_stats(stats)
    n_steps = n // LANES
    rest = n - LANES * n_steps
    if n_steps:
        count32(bits, n_steps, indices, counters, positive, zero, stats)
    if rest:
        tail = p32(slot + u64(S_TAIL))
        for i in range(LANES):
            tail[i] = p32(bits)[LANES * n_steps + i] if i < rest else u32(0)
        bit = u64(2 * n_steps)
        count32(slot + u64(S_TAIL), 1, indices, counters, positive + bit, zero + bit, stats)
        p32(counters)[0] -= u32(LANES - rest)
    low, high = p64(stats)[T_LOW], p64(stats)[T_HIGH] + u64(1)
    special, has_tiny = high > u64(INF32), u64(low + u64(1)) < u64(TINY32)
    if has_tiny or special:
        count_tiny32(p32(bits), n, p32(slot + u64(S_TINY + which * TINY_BYTES)))
    # Flushed operands matter to the sums only where nothing is larger than 2^-60.
    if special or (has_tiny and high < u64(67 << 23)):
        low, high = review32(p32(bits), n, stats)
    if low == u64(0xFFFFFFFF):
        low = NONE
    end_stats(stats, low, high, special, moments, slot + u64(S_EXTREMES + 24 * which))
    return i64(special) | i64(p64(stats)[T_ZEROS] != u64(0)) << 1


def add_block64(bits, n, slot, which, moments):
    """The same for a block of binary64 patterns."""
    stats, counters = slot + u64(S_STATS), slot + u64(S_COUNTERS + which * COUNTER_BYTES)
    positive, zero, indices = slot + u64(S_POSITIVE), slot + u64(S_ZERO), slot + u64(S_INDICES)
    begin_stats(stats)
    n_steps = n // LANES
    rest = n - LANES * n_steps
    if n_steps:
        count64(bits, n_steps, indices, counters, positive, zero, stats)
    if rest:
        tail = p64(slot + u64(S_TAIL))
        for i in range(LANES):
            tail[i] = p64(bits)[LANES * n_steps + i] if i < rest else u64(0)
        bit = u64(2 * n_steps)
        count64(slot + u64(S_TAIL), 1, indices, counters, positive + bit, zero + bit, stats)
        p32(counters)[0] -= u32(LANES - rest)
    low, high = p64(stats)[T_LOW], p64(stats)[T_HIGH] + u64(1)
    special = high > INF64
    if special:
        low, high = review64(p64(bits), n, stats)
    end_stats(stats, low, high, special, moments, slot + u64(S_EXTREMES + 24 * which))
    return i64(special) | i64(p64(stats)[T_ZEROS] != u64(0)) << 1


def widen(kind, narrow_at, table_at, start, n, wide_at):
    """Binary32 patterns of narrow elements; exact, and independent of flush-to-zero flags."""
    wide = p32(wide_at)
    if kind == BFLOAT16:
        narrow16 = p16(narrow_at + u64(2 * start))
        for i in range(n):
            wide[i] = u32(narrow16[i]) << u32(16)
    elif kind == BINARY16:
        narrow16 = p16(narrow_at + u64(2 * start))
        for i in range(n):
            wide[i] = widened_binary16(u32(narrow16[i]))
    else:
        narrow8, table = p8(narrow_at + u64(start)), p32(table_at)
        for i in range(n):
            wide[i] = table[i64(narrow8[i])]


@nb.njit(**OPTIONS)
def widened_binary16(half):
    """Binary32 pattern of a binary16 pattern."""
    magnitude = u32((half & u32(0x7FFF)) << u32(13))
    exponent = u32(magnitude & u32(0x0F800000))
    normal = u32(magnitude + u32(112 << 23))
    special = u32(magnitude + u32(224 << 23))
    unit = u32(113 << 23)  # the exponent of subnormal numbers: subtracting it normalises them
    subnormal = f32(u32(magnitude + unit).view(f32) - unit.view(f32)).view(u32)
    finite = subnormal if exponent == u32(0) else normal
    return u32(
        (special if exponent == u32(0x0F800000) else finite) | (half & u32(0x8000)) << u32(16)
    )


@nb.njit(**OPTIONS)
def bits_set(words, first, stop):
    """How many bits of a bitmap are set from one place to another."""
    count = u64(0)
    word, last = first >> 6, (stop - 1) >> 6
    mask = NONE << u64(first & 63)
    while word < last:
        count += population(words[word] & mask)
        mask = NONE
        word += 1
    mask &= NONE >> u64(63 - ((stop - 1) & 63))
    return count + population(words[word] & mask)


@nb.njit(**OPTIONS)
def channel_planes(slot, origin, n, inner, n_channels, out, zero):
    """Channel counts of a block whose channels lie in runs of ``inner``, from its bitmaps."""
    plane = origin // inner
    channel, stop, i = plane % n_channels, min(n, (plane + 1) * inner - origin), i64(0)
    while i < n:
        out[channel] += u32(bits_set(p64(slot + u64(S_POSITIVE)), i, stop))
        if zero:
            out[n_channels + channel] += u32(bits_set(p64(slot + u64(S_ZERO)), i, stop))
        i, stop = stop, min(n, stop + inner)
        channel = channel + 1 if channel + 1 < n_channels else 0


@nb.njit(**OPTIONS)
def channel_specials(bits, origin, n, inner, n_channels, out, absolute, infinite):
    """Count elements that are not finite, which are rare, channel by channel."""
    for i in range(n):
        if (bits[i] & absolute) >= infinite:
            out[2 * n_channels + (origin + i) // inner % n_channels] += u32(1)


@nb.njit(**OPTIONS)
def channel_rows(bits, origin, n, n_channels, out, zero, absolute, infinite, one):
    """Channel counts of a block where the channel is the fastest dimension."""
    channel, i = origin % n_channels, i64(0)
    while i < n:
        run = min(n - i, n_channels - channel)
        for j in range(run):
            out[channel + j] += u32((bits[i + j] - one) < infinite - one)
        if zero:
            for j in range(run):
                out[n_channels + channel + j] += u32(
                    (bits[i + j] & absolute) == absolute - absolute
                )
        i, channel = i + run, i64(0)


def channels32(bits, slot, origin, n, inner, n_channels, out, flags):
    """Add a block of binary32 patterns to the counts per channel (positive, zero, not finite)."""
    block, counts, zero = p32(bits), p32(out), flags & ZERO
    if inner == 1:
        channel_rows(block, origin, n, n_channels, counts, zero, ABS32, INF32, u32(1))
    else:
        channel_planes(slot, origin, n, inner, n_channels, counts, zero)
    if flags & SPECIAL:
        channel_specials(block, origin, n, inner, n_channels, counts, ABS32, INF32)


def channels64(bits, slot, origin, n, inner, n_channels, out, flags):
    """The same for a block of binary64 patterns."""
    block, counts, zero = p64(bits), p32(out), flags & ZERO
    if inner == 1:
        channel_rows(block, origin, n, n_channels, counts, zero, ABS64, INF64, u64(1))
    else:
        channel_planes(slot, origin, n, inner, n_channels, counts, zero)
    if flags & SPECIAL:
        channel_specials(block, origin, n, inner, n_channels, counts, ABS64, INF64)


@nb.njit(**OPTIONS)
def difference32(after, before):
    """Pattern of after - before, rounded once, whatever the flush-to-zero flags.

    The difference of two binary32 numbers, rounded to binary64 and then to binary32, is the
    correctly rounded one (53 >= 2 * 24 + 2); where it is subnormal in binary32 it is exact.
    """
    wide = exact32(after) - exact32(before)
    if abs(wide) >= 2.0**-126:
        return f32(wide).view(u32)
    units = i64(wide * 2.0**149)
    return u32(-units) | u32(0x80000000) if units < 0 else u32(units)


@nb.njit(**OPTIONS)
def exponent32(pattern):
    """floor(log2) of a nonzero finite magnitude; a large negative number for all others."""
    magnitude = u32(pattern & ABS32)
    if magnitude == u32(0) or magnitude >= INF32:
        return i64(-9999)
    return i64(f64(abs(exact32(pattern))).view(u64) >> u64(52)) - 1023


@nb.njit(**OPTIONS)
def review_ratios32(after, before, update, n, indices, ratios):
    """Go again over the elements without a counter: updates and exponents by their bits.

    Where operands or results are flushed to zero, the vector loop has the wrong update.
    """
    for i in range(n):
        if indices[i] == u16(0) and before[i] != after[i]:
            if u32(update[i] & ABS32) < u32(26 << 23):
                exact = difference32(after[i], before[i])
                if exact != u32(0):  # else both are zeros: the sign is right already
                    update[i] = exact
            e_update, e_before = exponent32(update[i]), exponent32(before[i])
            if e_update > -9999 and e_before > -9999:
                ratios[e_update - e_before + RATIO_ZERO] += u32(1)


@nb.njit(**OPTIONS)
def should_move(before, after, gradient, n, absolute, infinite, one):
    """Elements with a nonzero finite gradient, and how many of them kept their bits."""
    updatable, unmoved = i64(0), i64(0)
    for i in range(n):
        moves = ((gradient[i] & absolute) - one) < infinite - one
        updatable += i64(moves)
        unmoved += i64(moves and before[i] == after[i])
    return updatable, unmoved


@nb.njit(**OPTIONS)
def exponent64(pattern):
    """The exponent of a nonzero finite magnitude, as its key has it; else a negative number."""
    magnitude = u64(pattern & ABS64)
    if magnitude == u64(0) or magnitude >= INF64:
        return i64(-9999)
    return i64(magnitude >> u64(52))


@nb.njit(**OPTIONS)
def count_moves(before, after, gradient, n, moves, absolute, infinite, one):
    """Add to the two counters of elements that should have moved, and that did not."""
    updatable, unmoved = should_move(before, after, gradient, n, absolute, infinite, one)
    pi64(moves)[0] += updatable
    pi64(moves)[1] += unmoved


@nb.njit(**OPTIONS)
def compare_vectors(after, before, gradient, update, n_steps, slot, moves):
    """Compare whole vectors of elements, in both passes where one is not enough."""
    indices, ratios = slot + u64(S_INDICES), slot + u64(S_RATIOS)
    if compare_steps(after, before, gradient, update, n_steps, indices, ratios, moves):
        found = p16(indices + u64(2 * LANES))
        review_ratios32(p32(after), p32(before), p32(update), LANES * n_steps, found, p32(ratios))


@nb.njit(**OPTIONS)
def compare_tail(after, before, gradient, update, n, slot, moves):
    """Compare fewer elements than a vector has, padded with zeros that do not move."""
    tail, size = slot + u64(S_TAIL), 4 * LANES
    for which, source in enumerate((after, before, gradient)):
        padded = p32(tail + u64(which * size))
        for i in range(LANES):
            padded[i] = p32(source)[i] if i < n else u32(0)
    difference = tail + u64(3 * size)
    compare_vectors(tail, tail + u64(size), tail + u64(2 * size), difference, 1, slot, moves)
    for i in range(n):
        p32(update)[i] = p32(difference)[i]


def compare32(before, after, gradient, update, n, slot, moves):
    """Form the update of a block, count its ratios, and the elements that should have moved.

    ``gradient`` is 0 when there is none; ``moves`` is where the two counters are.
    """
    if gradient == u64(0):  # any elements do where nobody asks for the counters
        gradient, moves = after, slot + u64(S_STATS)
    n_steps = n // LANES
    if n_steps:
        compare_vectors(after, before, gradient, update, n_steps, slot, moves)
    rest = n - LANES * n_steps
    if rest:
        at = u64(4 * LANES * n_steps)
        compare_tail(after + at, before + at, gradient + at, update + at, rest, slot, moves)


def compare64(before, after, gradient, update, n, slot, moves):
    """The same for binary64 patterns."""
    ratios = p32(slot + u64(S_RATIOS))
    update_ratios64(p64(before), p64(after), p64(update), n, ratios)
    if gradient != u64(0):
        count_moves(p64(before), p64(after), p64(gradient), n, moves, ABS64, INF64, u64(1))


@nb.njit(**OPTIONS)
def update_ratios64(before, after, update, n, ratios):
    """Form the update of a binary64 block and count its ratios."""
    for i in range(n):
        difference = u64(after[i]).view(f64) - u64(before[i]).view(f64)
        update[i] = f64(difference).view(u64)
        e_update, e_before = exponent64(update[i]), exponent64(before[i])
        if e_update >= 0 and e_before >= 0:
            ratios[e_update - e_before + RATIO_ZERO] += u32(1)
