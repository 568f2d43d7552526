"""What one thread of the CPU back end does: take parts of the work and finish them.

The work of a call is a table of *jobs* (tensors, or pieces of very large ones) cut into *parts* of
a fixed size. Each thread claims parts with an atomic counter and counts into histograms of its own;
whenever the job changes it moves the counts that occur, in the order of the keys, into an arena of
its own and notes a *segment*. Sums are kept part by part and added in order afterwards. The cut
does not depend on the number of threads: so neither does any result.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels import _cpu_loops as loops
from deephochuli.kernels._cpu_loops import OPTIONS
from deephochuli.kernels._cpu_memory import (
    call5,
    call6,
    call7,
    call8,
    fetch_add,
    p16,
    p32,
    p64,
    pi64,
)
from deephochuli.kernels._cpu_vectors import LANES, fold32, fold64

u32, u64, i64, f64 = np.uint32, np.uint64, np.int64, np.float64

INFINITY, NAN = 0x7FF0, 0x7FF8
BLOCK = loops.BLOCK

# Control block, uint64: counters, then addresses of tables, then the sizes of a slot's share.
C_SLOT, C_NEXT, C_PARTS, C_JOBS, C_PART_TABLE, C_MOMENTS, C_SCRATCH = 0, 1, 2, 3, 4, 5, 6
C_ARENA_KEYS, C_ARENA_COUNTS, C_ARENA_SIZE = 7, 8, 9
C_SEGMENTS, C_EXTREMES, C_N_SEGMENTS, C_MOST_SEGMENTS = 10, 11, 12, 13
# Sets of a job (1 or 3), bytes of an element and elements of a block once widened; then functions.
C_SETS, C_ITEM, C_BLOCK = 14, 15, 16
C_ADD_BLOCK, C_DRAIN, C_WIDEN, C_CHANNELS, C_COMPARE = 17, 18, 19, 20, 21

# Job table, uint64.
J_TYPE, J_DATA, J_BEFORE, J_GRADIENT, J_TABLE = 0, 1, 2, 3, 4
J_ORIGIN, J_INNER, J_CHANNELS, J_COUNTS = 5, 6, 7, 8
J_COLUMNS = 9

# Part table, int64; and six binary64 moments per part: sum and sum of squares of three sets.
P_JOB, P_START, P_STOP = 0, 1, 2
P_COLUMNS = 3
M_COLUMNS = 6

# Segment table, int64: per set where its counts are; and six extremes in binary64.
G_JOB, G_UPDATABLE, G_UNMOVED, G_RATIO_AT, G_RATIO_N, G_SETS = 0, 1, 2, 3, 4, 5
G_COLUMNS = 11
X_COLUMNS = 6


@nb.njit(**OPTIONS)
def sweep(counters, first, stop, offset, keys, counts, at):
    """Move the counters that are not zero into the arena; return where it ends now."""
    for i in range(first, stop):
        count = counters[i]
        if count != u32(0):
            keys[at] = i + offset
            counts[at] = count
            counters[i] = u32(0)
            at += 1
    return at


@nb.njit(**OPTIONS)
def take_all(counters, first, stop):
    """Add up some counters and set them to zero."""
    total = u32(0)
    for i in range(first, stop):
        total += counters[i]
        counters[i] = u32(0)
    return total


@nb.njit(**OPTIONS)
def emit(keys, counts, at, key, count):
    """Append a key that occurs; return where the arena ends now."""
    if count != u32(0):
        keys[at] = key
        counts[at] = count
        at += 1
    return at


@nb.njit(**OPTIONS)
def index32(magnitude):
    """Place of a normal binary32 magnitude in its histogram."""
    return i64(magnitude >> u64(20)) << 1 | i64((magnitude & u64(0xFFFFF)) != u64(0))


@nb.njit(**OPTIONS)
def key64(magnitude):
    """Place of a binary64 magnitude in its histogram, which is its key."""
    return i64(magnitude >> u64(49)) << 1 | i64((magnitude & loops.LOW49) != u64(0))


def drain32(slot, which, keys_at, counts_at, at):
    """Move one set's counts of binary32 data into the arena, in the order of the keys."""
    half, top, offset = i64(4096), i64(255 << 4), i64(896 << 4)
    keys, counts = p16(keys_at), p32(counts_at)
    at_counters = slot + u64(loops.S_COUNTERS + which * loops.COUNTER_BYTES)
    counters = p32(at_counters)
    tiny = p32(slot + u64(loops.S_TINY + which * loops.TINY_BYTES))
    extremes = p64(slot + u64(loops.S_EXTREMES + 24 * which))
    low, high, special = extremes[0], extremes[1], extremes[2] != u64(0)
    first = max(index32(low), i64(16)) & ~15
    stop = index32(high - u64(1)) + 1 if high > u64(loops.TINY32) else i64(0)
    for sign in (i64(0), half):
        fold32(at_counters, sign, 1)
        if stop > first:
            fold32(at_counters, sign + first, (stop - first + 15) // LANES)
        if special:
            fold32(at_counters, sign + top, 1)
    specials = u32(0)
    if special:
        specials = take_all(counters, top + 1, half) + take_all(counters, half + top + 1, 2 * half)
    for sign in (i64(0), half):
        key_sign = sign << 3
        at = sweep(counters, sign, sign + 1, key_sign - sign, keys, counts, at)
        if low != u64(0) and low < u64(loops.TINY32):
            take_all(counters, sign + 1, sign + 16)
            start = i64(0) if sign == 0 else i64(loops.TINY_HALF)
            shift = key_sign + (874 << 4) - start
            at = sweep(tiny, start, start + loops.TINY_HALF, shift, keys, counts, at)
        at = sweep(counters, sign + first, sign + stop, key_sign - sign + offset, keys, counts, at)
        if special:
            at = emit(
                keys,
                counts,
                at,
                key_sign | INFINITY,
                take_all(counters, sign + top, sign + top + 1),
            )
        if sign == 0:
            at = emit(keys, counts, at, NAN, specials)
    return at


def drain64(slot, which, keys_at, counts_at, at):
    """The same for binary64 data, whose counters are the keys."""
    half, keys, counts = i64(0x8000), p16(keys_at), p32(counts_at)
    at_counters = slot + u64(loops.S_COUNTERS + which * loops.COUNTER_BYTES)
    counters = p32(at_counters)
    extremes = p64(slot + u64(loops.S_EXTREMES + 24 * which))
    low, high, special = extremes[0], extremes[1], extremes[2] != u64(0)
    first = key64(low) & ~15
    stop = key64(high - u64(1)) + 1 if high > u64(1) else i64(0)
    for sign in (i64(0), half):
        fold64(at_counters, sign, 1)
        if stop > first:
            fold64(at_counters, sign + first, (stop - first + 15) // LANES)
        if special:
            fold64(at_counters, sign + INFINITY, 1)
    specials = u32(0)
    if special:
        specials = take_all(counters, i64(INFINITY + 1), half)
        specials += take_all(counters, half + INFINITY + 1, 2 * half)
    for sign in (i64(0), half):
        at = sweep(counters, sign, sign + 1, i64(0), keys, counts, at)
        at = sweep(counters, sign + max(first, i64(1)), sign + stop, i64(0), keys, counts, at)
        if special:
            end = sign + INFINITY
            at = sweep(counters, end, end + 1, i64(0), keys, counts, at)
        if sign == 0:
            at = emit(keys, counts, at, NAN, specials)
    return at


@nb.njit(**OPTIONS)
def wide_pattern(magnitude):
    """Binary64 pattern of a binary32 magnitude."""
    if magnitude >= u64(loops.TINY32):
        return u64((magnitude << u64(29)) + (u64(896) << u64(52)))
    return f64(f64(magnitude) * 2.0**-149).view(u64)


@nb.njit(**OPTIONS)
def end_extremes(slot, which, wide, out):
    """Write the extremes of a set as patterns (NaN for none), and empty them."""
    extremes = p64(slot + u64(loops.S_EXTREMES + 24 * which))
    none = u64(0x7FF8 << 48)
    low, high = extremes[0], extremes[1]
    out[2 * which] = none if low == u64(0) else (low if wide else wide_pattern(low))
    out[2 * which + 1] = none
    if high != u64(0):
        out[2 * which + 1] = high - u64(1) if wide else wide_pattern(high - u64(1))
    extremes[0] = extremes[1] = extremes[2] = u64(0)


@nb.njit(**OPTIONS)
def drain_ratios(slot, first, stop, keys, counts, at):
    """Move the counts of ratios into the arena (as unsigned index)."""
    ratios = p32(slot + u64(loops.S_RATIOS))
    for copy in range(loops.RATIO_COPIES):
        ratios[copy * loops.RATIO_STRIDE] = u32(0)  # elements without a ratio
    for i in range(first, stop):
        for copy in range(1, loops.RATIO_COPIES):
            ratios[i] += ratios[copy * loops.RATIO_STRIDE + i]
            ratios[copy * loops.RATIO_STRIDE + i] = u32(0)
    return sweep(ratios, first, stop, i64(0), keys, counts, at)


@nb.njit(**OPTIONS)
def claim(control):
    """Index of the next part; -1 when none is left."""
    index = fetch_add(control + u64(8 * C_NEXT))
    return index if index < i64(p64(control)[C_PARTS]) else i64(-1)


@nb.njit(**OPTIONS)
def arena_of(control, slot):
    """Addresses of one slot's share of the keys and the counts."""
    start = p64(control)[C_ARENA_SIZE] * u64(slot)
    keys = p64(control)[C_ARENA_KEYS] + u64(2) * start
    return keys, p64(control)[C_ARENA_COUNTS] + u64(4) * start


@nb.njit(**OPTIONS)
def begin_segment(control, slot, n_segments, job):
    """Note a new segment; return the addresses of its two rows."""
    row = i64(p64(control)[C_MOST_SEGMENTS]) * slot + n_segments
    pi64(p64(control)[C_N_SEGMENTS])[slot] = n_segments + 1
    segment = p64(control)[C_SEGMENTS] + u64(8 * G_COLUMNS * row)
    pi64(segment)[G_JOB] = job
    return segment, p64(control)[C_EXTREMES] + u64(8 * X_COLUMNS * row)


@nb.njit(**OPTIONS)
def block_at(control, job, data, at, n, wide):
    """Address of a block's patterns, in place or widened."""
    if p64(control)[C_WIDEN] == u64(0):
        return data + p64(control)[C_ITEM] * u64(at)
    if job[J_TYPE] == u64(loops.BINARY32):
        return data + u64(4 * at)
    call6(p64(control)[C_WIDEN], job[J_TYPE], data, job[J_TABLE], u64(at), u64(n), wide)
    return wide


@nb.njit(**OPTIONS)
def plain_part(control, job, start, stop, scratch, slot, moments):
    """Count a part of a tensor, with its channels if asked for."""
    table, n_channels, block = p64(control), job[J_CHANNELS], i64(p64(control)[C_BLOCK])
    out = job[J_COUNTS] + u64(12) * n_channels * u64(slot)
    for at in range(start, stop, block):
        n = min(block, stop - at)
        bits = block_at(control, job, job[J_DATA], at, n, scratch + u64(loops.S_WIDE))
        flags = call5(table[C_ADD_BLOCK], bits, u64(n), scratch, u64(0), moments)
        if n_channels:
            call8(
                table[C_CHANNELS],
                bits,
                scratch,
                job[J_ORIGIN] + u64(at),
                u64(n),
                job[J_INNER],
                n_channels,
                out,
                u64(flags),
            )


@nb.njit(**OPTIONS)
def update_part(control, job, start, stop, scratch, moments, segment):
    """Count a part of one optimizer step: weights, gradients and updates in one read."""
    table, block, step = p64(control), i64(p64(control)[C_BLOCK]), u64(4 * BLOCK)
    wide = scratch + u64(loops.S_WIDE)
    update, add_block = wide + u64(3) * step, table[C_ADD_BLOCK]
    for at in range(start, stop, block):
        n = min(block, stop - at)
        after = block_at(control, job, job[J_DATA], at, n, wide)
        before = block_at(control, job, job[J_BEFORE], at, n, wide + step)
        gradient = u64(0)
        if job[J_GRADIENT] != u64(0):
            gradient = block_at(control, job, job[J_GRADIENT], at, n, wide + u64(2) * step)
        moves = segment + u64(8 * G_UPDATABLE)
        call7(table[C_COMPARE], before, after, gradient, update, u64(n), scratch, moves)
        call5(add_block, after, u64(n), scratch, u64(0), moments)
        if gradient != u64(0):
            call5(add_block, gradient, u64(n), scratch, u64(1), moments + u64(16))
        call5(add_block, update, u64(n), scratch, u64(2), moments + u64(32))


@nb.njit(**OPTIONS)
def end_segment(control, scratch, slot, segment, extremes, used):
    """Empty the histograms of a job into the arena; return how much of it is used now."""
    table, wide = p64(control), p64(control)[C_ITEM] == u64(8)
    keys, counts = arena_of(control, slot)
    row, n_sets = pi64(segment), i64(table[C_SETS])
    for which in range(n_sets):
        row[G_SETS + 2 * which] = used
        end = call5(table[C_DRAIN], scratch, u64(which), keys, counts, u64(used))
        row[G_SETS + 2 * which + 1] = end - used
        used = end
        end_extremes(scratch, which, wide, p64(extremes))
    if n_sets > 1:
        first, stop = i64(loops.RATIO_ZERO - 300), i64(loops.RATIO_ZERO + 300)
        if wide:
            first, stop = i64(1), i64(loops.N_RATIOS)
        row[G_RATIO_AT] = used
        end = drain_ratios(scratch, first, stop, p16(keys), p32(counts), used)
        row[G_RATIO_N] = end - used
        used = end
    return used


def work(control):
    """Claim parts until none is left; every thread of a call runs this once."""
    slot, used, n_segments, current = fetch_add(control), i64(0), i64(0), i64(-1)
    table = p64(control)
    scratch = table[C_SCRATCH] + u64(loops.SLOT_BYTES) * u64(slot)
    segment = extremes = u64(0)
    index = claim(control)
    while index >= 0:
        part = pi64(table[C_PART_TABLE] + u64(8 * P_COLUMNS * index))
        if part[P_JOB] != current:
            if current >= 0:
                used = end_segment(control, scratch, slot, segment, extremes, used)
            current = part[P_JOB]
            segment, extremes = begin_segment(control, slot, n_segments, current)
            n_segments += 1
        job = p64(table[C_JOBS] + u64(8 * J_COLUMNS * current))
        moments = table[C_MOMENTS] + u64(8 * M_COLUMNS * index)
        if table[C_SETS] == u64(1):
            plain_part(control, job, part[P_START], part[P_STOP], scratch, slot, moments)
        else:
            update_part(control, job, part[P_START], part[P_STOP], scratch, moments, segment)
        index = claim(control)
    if current >= 0:
        end_segment(control, scratch, slot, segment, extremes, used)
