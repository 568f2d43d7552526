"""What one thread of the CPU back end does: take parts of a tensor and round them, block by block.

A block is rounded on its way from source to target, or by way of scratch memory where elements are
narrow or rounded in place. Parts are claimed with an atomic counter; what an element becomes does
not depend on who rounds it.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_emit import EXPONENT32
from deephochuli.kernels._cpu_emit import LANES as VECTOR
from deephochuli.kernels._cpu_loops import widened_binary16
from deephochuli.kernels._cpu_memory import fetch_add, p16, p32, p64, pf64
from deephochuli.kernels.rounding._constants import Word
from deephochuli.kernels.rounding._contract import GROUP, HALF, LANES, LOWER_SERIES
from deephochuli.kernels.rounding._cpu_blocks import (
    BLOCK,
    ROW,
    S_COPY,
    S_KEYS,
    S_QUOTIENTS,
    S_RANDOM,
    S_ROWS,
    S_SCALES,
    S_STEPS,
    S_TOPS,
    S_WIDE,
    SLOT_BYTES,
)
from deephochuli.kernels.rounding._cpu_cards import find_cards, write_cards
from deephochuli.kernels.rounding._cpu_loops import IN_DOUBT
from deephochuli.kernels.rounding._cpu_philox import expand
from deephochuli.kernels.rounding._cpu_powers import BELOW, LIMIT, MOST
from deephochuli.kernels.rounding._cpu_quotients import CARD
from deephochuli.kernels.rounding._cpu_scales import divide_widely, largest_of, multiply_widely
from deephochuli.kernels.rounding._cpu_words import (
    call_blocks,
    call_fill,
    call_loop,
    number_with_bits,
)

u16, u32, u64, i64 = np.uint16, np.uint32, np.uint64, np.int64
f32, f64 = np.float32, np.float64

# Control block, uint64.
C_NEXT, C_SLOT, C_N, C_PART, C_SOURCE, C_TARGET, C_KIND, C_TABLE = range(8)
# The loop for blocks without a magnitude above `C_CALM`, and the one for all blocks.
C_CALM_LOOP, C_LOOP, C_CALM, C_FILL, C_FILL_LOWER, C_KEY, C_SCRATCH = 8, 9, 10, 11, 12, 13, 17
# Elements that share a scale, or 0; where to say that a block was found that this is not for; how
# blocks are rounded, and the words for that.
C_BLOCK, C_HARD, C_BLOCK_LOOP, C_BLOCK_WORDS = 18, 19, 20, 21
# For random bits, the loop for quotients in binary64 and its table.
C_WIDE_LOOP, C_WIDE_TABLE = 22, 23
# For scales that are no powers of two: the table of their plan, or 0; what they are multiples of;
# the values of an element, and the largest one; and the pattern of a number, or of infinity: larger
# ones are not rounded by quotients in binary32.
C_SCALE_TABLE, C_UNIT, C_LATTICE, C_MOST, C_FAR = 24, 25, 26, 27, 28
C_WORDS = 29
# From here on a subnormal number is below 2^-32 of the smallest value of every element format; from
# there on a number that is added so that it is cut could be too large.
LEAST, TOO_LARGE = u32((127 - 60) << 23), u32((127 + 104) << 23)
EXPONENTS = u32(EXPONENT32)
CUT, LOW_LIMIT, MAX = int(Word.CUT), int(Word.LOW_LIMIT), int(Word.MAX)
# Random bits that loops must do without, and the groups of the counters that have them.
LOWER, ALL_BITS, LOWER_GROUPS = u64((1 << HALF) - 1), u64(0), u64(LOWER_SERIES // LANES)
BINARY32, BINARY64, BFLOAT16, BINARY16 = 0, 1, 2, 3
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


expand_key = nb.njit(**OPTIONS)(expand)


@nb.njit(**OPTIONS)
def copy_block(kind, source, target, n):
    """Copy the bits of a block to another place."""
    if kind == u64(BINARY64):
        ours8, theirs8 = p64(source), p64(target)
        for i in range(n):
            theirs8[i] = ours8[i]
    else:
        ours4, theirs4 = p32(source), p32(target)
        for i in range(n):
            theirs4[i] = ours4[i]


@nb.njit(**OPTIONS)
def widen(kind, source, target, n):
    """Binary32 patterns of a block of narrow elements, exact."""
    narrow, wide = p16(source), p32(target)
    if kind == u64(BFLOAT16):
        for i in range(n):
            wide[i] = u32(narrow[i]) << u32(16)
    else:
        for i in range(n):
            wide[i] = widened_binary16(u32(narrow[i]))


@nb.njit(**OPTIONS)
def narrowed_binary16(pattern):
    """Binary16 pattern of a binary32 pattern whose value binary16 has."""
    magnitude = u32(pattern & u32(0x7FFFFFFF))
    normal = u32(u32(magnitude - u32(112 << 23)) >> u32(13))
    shift = min(u32(u32(126) - u32(magnitude >> u32(23))), u32(31))
    tiny = u32(u32(u32(magnitude & u32(0x7FFFFF)) | u32(0x800000)) >> shift)
    special = u32(u32(magnitude >> u32(13)) - u32(224 << 10))
    half = tiny if magnitude < u32(113 << 23) else normal
    half = special if magnitude >= u32(0x7F800000) else half
    return u32(half | u32(u32(pattern >> u32(16)) & u32(0x8000)))


@nb.njit(**OPTIONS)
def narrow_block(kind, source, target, n):
    """Take rounded patterns back to the type of the elements, exact."""
    wide, narrow = p32(source), p16(target)
    if kind == u64(BFLOAT16):
        for i in range(n):
            narrow[i] = u16(wide[i] >> u32(16))
    else:
        for i in range(n):
            narrow[i] = u16(narrowed_binary16(wide[i]))


@nb.njit(**OPTIONS)
def write_limits(control, scratch, source, n):
    """Write the rows of blocks whose scale is a power of two.

    Returns whether all blocks are zero or have a largest number well inside the range of binary32.
    """
    table, rows, tops_at = p64(control), scratch + u64(S_ROWS), scratch + u64(S_TOPS)
    block, plan = i64(table[C_BLOCK]), p32(table[C_TABLE])
    largest_of(source, n, block, tops_at)
    tops, limits, mosts = p32(tops_at), p32(rows + u64(LIMIT * ROW)), p32(rows + u64(MOST * ROW))
    belows = p32(rows + u64(BELOW * ROW))
    limit, biggest = plan[LOW_LIMIT], plan[MAX]
    field, least, most = biggest & EXPONENTS, TOO_LARGE, u32(0)
    for i in range(n // block):
        top = tops[i]
        least = min(least, u32(top - u32(1)))  # zero becomes the largest of all
        most = max(most, top)
        by = u32(u32(max(top, LEAST) & EXPONENTS) - field)
        limits[i], mosts[i] = u32(limit + by), u32(biggest + by)
        belows[i] = u32(limits[i] - u32(1))
    return (most < TOO_LARGE) & (least >= u32(LEAST - u32(1)))


@nb.njit(**OPTIONS)
def write_powers(control, scratch, n):
    """Write the steps of the same blocks: their scales, in binary64."""
    table, mosts = p64(control), p32(scratch + u64(S_ROWS + MOST * ROW))
    steps, biggest = p64(scratch + u64(S_STEPS)), i64(p32(table[C_TABLE])[MAX])
    for i in range(n // i64(table[C_BLOCK])):
        steps[i] = u64(((i64(mosts[i]) - biggest) >> i64(23)) + i64(1023)) << u64(52)


@nb.njit(**OPTIONS)
def write_numbers(control, scratch, source, n):
    """Write the numbers of the cards of blocks whose scale has a significand.

    Returns the pattern of the largest magnitude of all.
    """
    table, tops_at, rows = p64(control), scratch + u64(S_TOPS), scratch + u64(S_ROWS)
    block, tops = i64(table[C_BLOCK]), p32(tops_at)
    n_blocks, plan = n // block, table[C_SCALE_TABLE]
    largest_of(source, n, block, tops_at)
    for i in range(n_blocks, -(-n_blocks // VECTOR) * VECTOR):
        tops[i] = u32(0)
    unit, most = f32(number_with_bits(table[C_UNIT])), f32(number_with_bits(table[C_MOST]))
    return find_cards(tops_at, n_blocks, rows + u64(CARD * ROW), plan, unit, most)


@nb.njit(**OPTIONS)
def write_steps(control, scratch, n):
    """Write the steps of the same blocks, in binary64."""
    table, numbers = p64(control), p32(scratch + u64(S_ROWS + CARD * ROW))
    steps, scales = pf64(scratch + u64(S_STEPS)), pf64(scratch + u64(S_SCALES))
    for i in range(n // i64(table[C_BLOCK])):
        steps[i] = scales[numbers[i]]


@nb.njit(**OPTIONS)
def fill_upper(control, scratch, at, source, target, n):
    """Make the upper halves of the random bits of a block, which begins with a group."""
    random, keys = scratch + u64(S_RANDOM), scratch + u64(S_KEYS)
    call_fill(p64(control)[C_FILL], random, u64(at // GROUP), u64(n), keys, source, target)


@nb.njit(**OPTIONS)
def fill_lower(control, scratch, at, n):
    """Put the lower halves to them."""
    random, keys = scratch + u64(S_RANDOM), scratch + u64(S_KEYS)
    group, nothing = u64(at // GROUP) + LOWER_GROUPS, u64(0)
    call_fill(p64(control)[C_FILL_LOWER], random, group, u64(n), keys, nothing, nothing)


@nb.njit(**OPTIONS)
def round_widely(control, scratch, source, target, n):
    """Round blocks by way of quotients in binary64."""
    table, quotients, wide = p64(control), scratch + u64(S_QUOTIENTS), scratch + u64(S_WIDE)
    random = scratch + u64(S_RANDOM)
    block, steps = i64(table[C_BLOCK]), scratch + u64(S_STEPS)
    divide_widely(source, quotients, n, block, steps)
    call_loop(table[C_WIDE_LOOP], quotients, wide, u64(n), table[C_WIDE_TABLE], random, ALL_BITS)
    multiply_widely(wide, target, n, block, steps)


@nb.njit(**OPTIONS)
def round_with_scales(control, scratch, source, target, n, at):
    """Round blocks that share scales; whether that was right for all of them."""
    table = p64(control)
    are_powers, is_far = table[C_SCALE_TABLE] == u64(0), False
    if are_powers:
        easy = write_limits(control, scratch, source, n)
    else:
        largest = write_numbers(control, scratch, source, n)
        easy, is_far = largest < EXPONENTS, largest > table[C_FAR]
    if not easy:
        return False
    way, block, words = table[C_BLOCK_LOOP], table[C_BLOCK], table[C_BLOCK_WORDS]
    random, size = scratch + u64(S_RANDOM), u64(n)
    is_sure = i64(0)
    if not is_far:
        is_sure = call_blocks(way, source, target, size, block, scratch, words, random, LOWER)
    if is_sure == i64(0):
        fill_lower(control, scratch, at, n)
    if is_sure == i64(0) and not is_far:
        is_sure = call_blocks(way, source, target, size, block, scratch, words, random, ALL_BITS)
    if is_sure == i64(0):
        if are_powers:
            write_powers(control, scratch, n)
        else:
            write_steps(control, scratch, n)
        round_widely(control, scratch, source, target, n)
    return True


@nb.njit(**OPTIONS)
def round_block(control, scratch, source, target, n, at):
    """Round a block on its way to another place: calmly, and once more if that was wrong.

    It begins with the element `at` of the tensor, whose upper random bits are there.
    """
    table, random = p64(control), scratch + u64(S_RANDOM)
    if table[C_BLOCK] != u64(0):
        if not round_with_scales(control, scratch, source, target, n, at):
            table[C_HARD] = u64(1)
        return
    calm, loop, words = table[C_CALM_LOOP], table[C_LOOP], table[C_TABLE]
    is_lacking = table[C_FILL] != u64(0)
    worst = call_loop(calm, source, target, u64(n), words, random, LOWER)
    if worst == IN_DOUBT:
        fill_lower(control, scratch, at, n)
        is_lacking = False
        worst = call_loop(calm, source, target, u64(n), words, random, ALL_BITS)
    if u64(worst) > table[C_CALM]:
        if is_lacking:
            fill_lower(control, scratch, at, n)
        call_loop(loop, source, target, u64(n), words, random, ALL_BITS)


@nb.njit(**OPTIONS)
def round_part(control, scratch, start, stop):
    """Round the elements of a part; it starts at the beginning of a group."""
    table = p64(control)
    kind = table[C_KIND]
    size = u64(8) if kind == u64(BINARY64) else (u64(4) if kind == u64(BINARY32) else u64(2))
    copy = scratch + u64(S_COPY)
    wide = copy + u64(4 * BLOCK)
    for at in range(start, stop, BLOCK):
        n = min(i64(BLOCK), stop - at)
        source = table[C_SOURCE] + size * u64(at)
        target = table[C_TARGET] + size * u64(at)
        if table[C_FILL] != u64(0):
            fill_upper(control, scratch, at, source, target, n)
        if size == u64(2):
            widen(kind, source, copy, n)
            round_block(control, scratch, copy, wide, n, at)
            narrow_block(kind, wide, target, n)
            continue
        if source == target:
            copy_block(kind, source, copy, n)
            source = copy
        round_block(control, scratch, source, target, n, at)


def work(control):
    """Claim parts until none is left; every thread of a call runs this once."""
    table = p64(control)
    n, part = i64(table[C_N]), i64(table[C_PART])
    slot = fetch_add(control + u64(8 * C_SLOT))
    scratch = table[C_SCRATCH] + u64(SLOT_BYTES) * u64(slot)
    if table[C_FILL] != u64(0):
        expand_key(control + u64(8 * C_KEY), scratch + u64(S_KEYS))
    if table[C_SCALE_TABLE] != u64(0):
        unit = number_with_bits(table[C_UNIT])
        write_cards(scratch, table[C_SCALE_TABLE], table[C_LATTICE], unit)
    start = fetch_add(control + u64(8 * C_NEXT)) * part
    while start < n:
        round_part(control, scratch, start, min(n, start + part))
        start = fetch_add(control + u64(8 * C_NEXT)) * part
