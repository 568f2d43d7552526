"""What one thread of the CPU back end does: take parts of a tensor and round them, block by block.

A block is rounded on its way from source to target, or by way of scratch memory where elements are
narrow, share a scale or are rounded in place. Parts are claimed with an atomic counter; what an
element becomes does not depend on who rounds it.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import numba as nb
import numpy as np

from deephochuli.kernels._cpu_loops import widened_binary16
from deephochuli.kernels._cpu_memory import call5, fetch_add, p16, p32, p64, pf64
from deephochuli.kernels.rounding._contract import GROUP
from deephochuli.kernels.rounding._cpu_scales import (
    divide,
    divide_widely,
    largest_of,
    multiply,
    multiply_widely,
    scale_down,
    scale_up,
)
from deephochuli.kernels.rounding._cpu_words import call4

u16, u32, u64, i64, f64 = np.uint16, np.uint32, np.uint64, np.int64, np.float64

# Elements of a block: whole groups of random bits.
BLOCK = 2 * GROUP
# Control block, uint64.
C_NEXT, C_SLOT, C_N, C_PART, C_SOURCE, C_TARGET, C_KIND, C_TABLE = range(8)
# The loop for blocks without a magnitude above `C_CALM`, 0 for none, and the one for all blocks.
C_CALM_LOOP, C_LOOP, C_CALM, C_FILL, C_KEY, C_SCRATCH = 8, 9, 10, 11, 12, 16
# Elements that share a scale, or 0; emax and the largest pattern of their format; where to say that
# a block was found that this is not for.
C_BLOCK, C_EMAX, C_MOST, C_HARD = 17, 18, 19, 20
# For scales that are no powers of two: the loop that rounds them and its table, what they are
# multiples of, and that times the largest value of an element.
C_SCALE_LOOP, C_SCALE_TABLE, C_UNIT, C_SPAN = 21, 22, 23, 24
# The loop for quotients in binary64, where it is that precise, else 0, and its table.
C_WIDE_LOOP, C_WIDE_TABLE = 25, 26
C_WORDS = 27
# Scratch of one thread, in bytes: random bits, a block of widened patterns or of what is rounded in
# place, a block of numbers that were divided by their scales, scales, and what these come from.
S_RANDOM, S_COPY, S_DIVIDED, S_SCALES, S_TOPS, SLOT_BYTES = (
    n * BLOCK for n in (0, 4, 12, 20, 22, 24)
)
BINARY32, BINARY64, BFLOAT16, BINARY16 = 0, 1, 2, 3
OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


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
def divided(control, scratch, data, n):
    """Divide blocks by their scales; whether that was right for all of them."""
    table, scales, tops_at = p64(control), scratch + u64(S_SCALES), scratch + u64(S_TOPS)
    block, most, target = i64(table[C_BLOCK]), i64(table[C_MOST]), scratch + u64(S_DIVIDED)
    if table[C_SCALE_LOOP] == u64(0):
        return scale_down(data, target, n, block, i64(table[C_EMAX]), most, scales)
    largest_of(data, n, block, scales)
    tops, steps, m = pf64(tops_at), pf64(scales), n // block
    span, unit = u64(table[C_SPAN]).view(f64), u64(table[C_UNIT]).view(f64)
    easy = True
    for i in range(m):
        easy &= steps[i] < np.inf
        steps[i] = steps[i] / span
    call5(table[C_SCALE_LOOP], scales, tops_at, u64(m), table[C_SCALE_TABLE], scales)
    for i in range(m):
        step = 1.0 if steps[i] == 0.0 else tops[i] * unit
        easy &= (step >= 2.0**-60) & (step <= 2.0**60)
        steps[i] = step
    if table[C_WIDE_LOOP] != u64(0):
        divide_widely(data, target, n, block, scales)
    else:
        divide(data, target, n, block, most, scales)
    return easy


@nb.njit(**OPTIONS)
def multiplied(control, scratch, data, n):
    """Multiply blocks by their scales."""
    table, scales = p64(control), scratch + u64(S_SCALES)
    if table[C_SCALE_LOOP] == u64(0):
        scale_up(data, n, i64(table[C_BLOCK]), scales)
    else:
        multiply(data, n, i64(table[C_BLOCK]), scales)


@nb.njit(**OPTIONS)
def round_block(control, scratch, source, target, n, random):
    """Round a block on its way to another place: calmly, and once more if that was wrong."""
    table = p64(control)
    if table[C_BLOCK] != u64(0):
        if not divided(control, scratch, source, n):
            table[C_HARD] = u64(1)
        divided_at = scratch + u64(S_DIVIDED)
        if table[C_WIDE_LOOP] != u64(0):
            wide = scratch + u64(S_COPY)
            call5(table[C_WIDE_LOOP], divided_at, wide, u64(n), table[C_WIDE_TABLE], random)
            multiply_widely(wide, target, n, i64(table[C_BLOCK]), scratch + u64(S_SCALES))
            return
        call5(table[C_CALM_LOOP], divided_at, target, u64(n), table[C_TABLE], random)
        multiplied(control, scratch, target, n)
        return
    if table[C_CALM] != u64(0):
        worst = call5(table[C_CALM_LOOP], source, target, u64(n), table[C_TABLE], random)
        if u64(worst) <= table[C_CALM]:
            return
    call5(table[C_LOOP], source, target, u64(n), table[C_TABLE], random)


@nb.njit(**OPTIONS)
def round_part(control, scratch, start, stop):
    """Round the elements of a part; it starts at the beginning of a group."""
    table = p64(control)
    kind = table[C_KIND]
    size = u64(8) if kind == u64(BINARY64) else (u64(4) if kind == u64(BINARY32) else u64(2))
    random, copy, wide = scratch, scratch + u64(S_COPY), scratch + u64(S_COPY + 4 * BLOCK)
    for at in range(start, stop, BLOCK):
        n = min(i64(BLOCK), stop - at)
        source = table[C_SOURCE] + size * u64(at)
        target = table[C_TARGET] + size * u64(at)
        if table[C_FILL] != u64(0):
            key = control + u64(8 * C_KEY)
            call4(table[C_FILL], random, u64(at // GROUP), u64(n), key)
        if size == u64(2):
            widen(kind, source, copy, n)
            round_block(control, scratch, copy, wide, n, random)
            narrow_block(kind, wide, target, n)
            continue
        if source == target:
            copy_block(kind, source, copy, n)
            source = copy
        round_block(control, scratch, source, target, n, random)


def work(control):
    """Claim parts until none is left; every thread of a call runs this once."""
    table = p64(control)
    n, part = i64(table[C_N]), i64(table[C_PART])
    slot = fetch_add(control + u64(8 * C_SLOT))
    scratch = table[C_SCRATCH] + u64(SLOT_BYTES) * u64(slot)
    start = fetch_add(control + u64(8 * C_NEXT)) * part
    while start < n:
        round_part(control, scratch, start, min(n, start + part))
        start = fetch_add(control + u64(8 * C_NEXT)) * part
