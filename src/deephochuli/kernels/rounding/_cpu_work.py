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
from deephochuli.kernels._cpu_memory import fetch_add, p16, p32, p64, pf64
from deephochuli.kernels.rounding._contract import GROUP
from deephochuli.kernels.rounding._cpu_quotients import (
    decide,
    decide_with_noise,
    divide_widely,
    make_cards,
    multiply_widely,
)
from deephochuli.kernels.rounding._cpu_scales import largest_of, moves_of
from deephochuli.kernels.rounding._cpu_words import call4, call_loop

u16, u32, u64, i64, f64 = np.uint16, np.uint32, np.uint64, np.int64, np.float64

# Elements of a block: whole groups of random bits.
BLOCK = 2 * GROUP
# Control block, uint64.
C_NEXT, C_SLOT, C_N, C_PART, C_SOURCE, C_TARGET, C_KIND, C_TABLE = range(8)
# The loop for blocks without a magnitude above `C_CALM`, 0 for none, and the one for all blocks.
C_CALM_LOOP, C_LOOP, C_CALM, C_FILL, C_KEY, C_SCRATCH = 8, 9, 10, 11, 12, 16
# Elements that share a scale, or 0; where to say that a block was found that this is not for.
C_BLOCK, C_HARD = 17, 18
# For scales that are no powers of two: the loop that rounds them and its table, what they are
# multiples of, that times the largest value of an element, and the lattice of the elements.
C_SCALE_LOOP, C_SCALE_TABLE, C_UNIT, C_SPAN, C_LATTICE = 19, 20, 21, 22, 23
# For those, the loop for quotients in binary64 and its table.
C_WIDE_LOOP, C_WIDE_TABLE = 24, 25
C_WORDS = 26
# Scratch of one thread, in bytes: random bits, a block of widened patterns or of what is rounded in
# place, quotients in binary64 or what moves exponents, steps of blocks, what they come from, and
# what is worked out from them.
S_RANDOM, S_COPY, S_QUOTIENTS, S_STEPS, S_TOPS, S_CARDS, SLOT_BYTES = (
    n * BLOCK for n in (0, 4, 12, 20, 21, 22, 25)
)
S_MOVES = S_QUOTIENTS
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
def write_steps(control, scratch, source, n):
    """Write the steps of blocks: scales times their unit; whether none is too large or small."""
    table, steps_at, tops_at = p64(control), scratch + u64(S_STEPS), scratch + u64(S_TOPS)
    largest_of(source, n, i64(table[C_BLOCK]), steps_at)
    tops, steps, m = pf64(tops_at), pf64(steps_at), n // i64(table[C_BLOCK])
    span, unit = u64(table[C_SPAN]).view(f64), u64(table[C_UNIT]).view(f64)
    easy = True
    for i in range(m):
        easy &= steps[i] < np.inf
        steps[i] = steps[i] / span
    none = u64(0)
    call_loop(table[C_SCALE_LOOP], steps_at, tops_at, u64(m), table[C_SCALE_TABLE], none, none)
    for i in range(m):
        step = 1.0 if steps[i] == 0.0 else tops[i] * unit
        easy &= (step >= 2.0**-60) & (step <= 2.0**60)
        steps[i] = step
    return easy


@nb.njit(**OPTIONS)
def round_by_steps(control, scratch, source, target, n, random):
    """Round a block whose scales have a significand; whether that was right for all of them."""
    table, steps, cards = p64(control), scratch + u64(S_STEPS), scratch + u64(S_CARDS)
    block, lattice = i64(table[C_BLOCK]), table[C_LATTICE]
    easy = write_steps(control, scratch, source, n)
    make_cards(steps, n // block, lattice, cards)
    if table[C_FILL] == u64(0):
        decide(source, target, n, block, cards, lattice)
    elif not decide_with_noise(source, target, n, block, cards, table[C_TABLE], random):
        quotients, wide, none = scratch + u64(S_QUOTIENTS), scratch + u64(S_COPY), u64(0)
        divide_widely(source, quotients, n, block, steps)
        call_loop(table[C_WIDE_LOOP], quotients, wide, u64(n), table[C_WIDE_TABLE], random, none)
        multiply_widely(wide, target, n, block, steps)
    return easy


@nb.njit(**OPTIONS)
def round_block(control, scratch, source, target, n, random):
    """Round a block on its way to another place: calmly, and once more if that was wrong."""
    table, moves = p64(control), scratch + u64(S_MOVES)
    if table[C_SCALE_LOOP] != u64(0):
        if not round_by_steps(control, scratch, source, target, n, random):
            table[C_HARD] = u64(1)
        return
    if table[C_BLOCK] != u64(0):
        if not moves_of(source, n, i64(table[C_BLOCK]), i64(table[C_CALM]), moves):
            table[C_HARD] = u64(1)
            return
    words, count = table[C_TABLE], u64(n)
    worst = call_loop(table[C_CALM_LOOP], source, target, count, words, random, moves)
    if u64(worst) > table[C_CALM]:
        call_loop(table[C_LOOP], source, target, count, words, random, moves)


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
