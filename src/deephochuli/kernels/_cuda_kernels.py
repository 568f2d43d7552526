"""The loops of the CUDA back end, in Triton.

One program counts one *part* of a tensor, in blocks. Most elements of a part lie within 64 binades
below its largest one: they are counted in a window of 2,048 counters that stays in the program, and
the counters that are not zero are added to the row in memory at the end. What lies outside the
window (subnormal, infinite, NaN, very small) is rare and goes to memory at once. Nothing is
allocated, nothing is waited for, and the data is read once; per channel it is read once more.

Everything is counted from bit patterns, widened to those of binary32, so that no flush-to-zero of
the hardware can hide anything. Under ``TRITON_INTERPRET=1`` the same code runs on a CPU.
"""

# Compiled functions get their types from Triton; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import triton
import triton.language as tl

BLOCK: tl.constexpr = tl.constexpr(1024)
PART: tl.constexpr = tl.constexpr(1 << 15)

# Element types. The codes of eight-bit types are looked up in a table.
BINARY32: tl.constexpr = tl.constexpr(0)
BFLOAT16: tl.constexpr = tl.constexpr(2)
BINARY16: tl.constexpr = tl.constexpr(3)
TABLE8: tl.constexpr = tl.constexpr(4)

# A row, in 64-bit words: counters of sign, exponent, 3 significand bits and sticky bit; counters of
# 23 subnormal binades for each sign; then sum, sum of squares, smallest magnitude - 1, largest + 1.
N_MAIN: tl.constexpr = tl.constexpr(1 << 13)
TINY_AT: tl.constexpr = tl.constexpr(1 << 13)
TINY_HALF: tl.constexpr = tl.constexpr(23 * 16)
SUM_AT: tl.constexpr = tl.constexpr((1 << 13) + 2 * 23 * 16)
LOW_AT: tl.constexpr = tl.constexpr((1 << 13) + 2 * 23 * 16 + 2)
HIGH_AT: tl.constexpr = tl.constexpr((1 << 13) + 2 * 23 * 16 + 3)
ROW_WORDS: tl.constexpr = tl.constexpr((1 << 13) + 2 * 23 * 16 + 4)
# What an update has beside its three rows: exponent differences, updatable and unmoved elements.
N_RATIOS: tl.constexpr = tl.constexpr(1 << 10)
RATIO_ZERO: tl.constexpr = tl.constexpr(1 << 9)
EXTRA_WORDS: tl.constexpr = tl.constexpr((1 << 10) + 2)

WINDOW: tl.constexpr = tl.constexpr(1 << 11)
# Magnitudes have 31 bits. Kernels name this number as it stands: Triton's interpreter takes no
# constant of this kind as an operand.
NO_LOW = 0x7FFFFFFF


@triton.jit
def load_patterns(data, offsets, ok, table, KIND: tl.constexpr):
    """Patterns of binary32 numbers that equal the elements."""
    if KIND == BINARY32:
        return tl.load(data.to(tl.pointer_type(tl.uint32)) + offsets, mask=ok, other=0)
    elif KIND == BFLOAT16:
        half = tl.load(data.to(tl.pointer_type(tl.uint16)) + offsets, mask=ok, other=0)
        return half.to(tl.uint32) << 16
    elif KIND == BINARY16:
        half = tl.load(data.to(tl.pointer_type(tl.uint16)) + offsets, mask=ok, other=0)
        return widen_binary16(half.to(tl.uint32))
    else:
        code = tl.load(data.to(tl.pointer_type(tl.uint8)) + offsets, mask=ok, other=0)
        codes = table.to(tl.pointer_type(tl.uint32))
        return tl.load(codes + code.to(tl.int32), mask=ok, other=0)


@triton.jit
def widen_binary16(half):
    """Binary32 pattern of a binary16 pattern; subnormal ones become normal."""
    magnitude = (half & 0x7FFF) << 13
    exponent = magnitude & 0x0F800000
    unit = tl.full(half.shape, 113 << 23, tl.uint32)
    tiny = (magnitude + unit).to(tl.float32, bitcast=True) - unit.to(tl.float32, bitcast=True)
    finite = tl.where(exponent == 0, tiny.to(tl.uint32, bitcast=True), magnitude + (112 << 23))
    wide = tl.where(exponent == 0x0F800000, magnitude + (224 << 23), finite)
    return wide | ((half & 0x8000) << 16)


@triton.jit
def leading(pattern):
    """Exponent, three significand bits and sticky bit: the place of a magnitude in a row."""
    magnitude = pattern & 0x7FFFFFFF
    sticky = (magnitude & 0xFFFFF) != 0
    return (((magnitude >> 20) << 1) | sticky.to(tl.uint32)).to(tl.int32)


@triton.jit
def exact_value(pattern):
    """A finite number in binary64, also where binary32 operands are flushed to zero."""
    magnitude = pattern & 0x7FFFFFFF
    # 2^-74 2^-75: a constant that is subnormal in binary32 could be flushed to zero itself.
    tiny = magnitude.to(tl.float64) * 5.293955920339377e-23 * 2.6469779601696886e-23
    tiny = tl.where(pattern != magnitude, tiny * -1.0, tiny)  # Triton's -x is 0 - x: no -0
    return tl.where(
        magnitude < 0x00800000, tiny, pattern.to(tl.float32, bitcast=True).to(tl.float64)
    )


@triton.jit
def window_of(pattern, ok):
    """The lowest exponent of a window that holds a block's largest numbers, with some above."""
    exponent = ((pattern & 0x7FFFFFFF) >> 23).to(tl.int32)
    finite = ok & (exponent < 255)
    top = tl.max(tl.where(finite, exponent, 0))
    return tl.minimum(tl.maximum(top - 55, 1), 191)


@triton.jit
def count_block(pattern, ok, row, window, first):
    """Count a block: into the window where it lies there, else into the row at once."""
    magnitude = pattern & 0x7FFFFFFF
    negative = (pattern >> 31).to(tl.int32)
    place = leading(pattern)
    exponent = place >> 4
    inside = ok & (exponent >= first) & (exponent < first + 64)
    index = tl.where(inside, place - first * 16 + negative * 1024, 0)
    window += tl.histogram(index, WINDOW, mask=inside)
    zero = ok & (magnitude == 0)
    tiny = ok & (magnitude != 0) & (exponent == 0)
    one = tl.full(pattern.shape, 1, tl.int64)
    beyond = ok & (exponent != 0) & (exponent < 255) & ~inside
    special = ok & (exponent == 255)
    tl.atomic_add(row + place + negative * 4096, one, mask=beyond | special, sem="relaxed")
    n_zero = tl.sum(zero.to(tl.int64))
    n_negative = tl.sum((zero & (negative == 1)).to(tl.int64))
    tl.atomic_add(row, n_zero - n_negative, mask=n_zero > n_negative, sem="relaxed")
    tl.atomic_add(row + 4096, n_negative, mask=n_negative > 0, sem="relaxed")
    # As a whole number a subnormal magnitude has the leading bits of the number itself.
    whole = leading(magnitude.to(tl.float32).to(tl.uint32, bitcast=True)) - 127 * 16
    at = TINY_AT + negative * TINY_HALF + whole
    tl.atomic_add(row + at, one, mask=tiny, sem="relaxed")
    return window


@triton.jit
def close_window(row, window, first):
    """Add the counters of a window to the row."""
    index = tl.arange(0, WINDOW)
    place = index % 1024 + first * 16 + (index // 1024) * 4096
    tl.atomic_add(row + place, window.to(tl.int64), mask=window != 0, sem="relaxed")


@triton.jit
def add_moments(pattern, ok, total, squares, low, high):
    """Sums of the finite elements, and the extremes of their magnitudes."""
    magnitude = pattern & 0x7FFFFFFF
    finite = ok & (magnitude < 0x7F800000)
    value = tl.where(finite, exact_value(pattern), 0.0)
    total += tl.sum(value)
    squares += tl.sum(value * value)
    nonzero = finite & (magnitude != 0)
    signed = magnitude.to(tl.int32)
    low = tl.minimum(low, tl.min(tl.where(nonzero, signed, 0x7FFFFFFF)))
    high = tl.maximum(high, tl.max(tl.where(finite, signed + 1, 0)))
    return total, squares, low, high


@triton.jit
def close_moments(row, total, squares, low, high):
    """Add the moments of a part to the row."""
    sums = row.to(tl.pointer_type(tl.float64)) + SUM_AT
    tl.atomic_add(sums, total, sem="relaxed")
    tl.atomic_add(sums + 1, squares, sem="relaxed")
    tl.atomic_max(row + LOW_AT, (0x7FFFFFFF - low).to(tl.int64), sem="relaxed")
    tl.atomic_max(row + HIGH_AT, high.to(tl.int64), sem="relaxed")


@triton.jit
def no_moments():
    """The moments of no element."""
    zero = tl.full((), 0.0, tl.float64)
    return zero, zero, tl.full((), 0x7FFFFFFF, tl.int32), tl.full((), 0, tl.int32)


@triton.jit
def count_part(data, start, stop, row, table, KIND: tl.constexpr):
    """Count one part of a tensor into a row."""
    offsets = start + tl.arange(0, BLOCK)
    first = window_of(load_patterns(data, offsets, offsets < stop, table, KIND), offsets < stop)
    window = tl.zeros((WINDOW,), tl.int32)
    total, squares, low, high = no_moments()
    for at in range(start, stop, BLOCK):
        offsets = at + tl.arange(0, BLOCK)
        ok = offsets < stop
        pattern = load_patterns(data, offsets, ok, table, KIND)
        window = count_block(pattern, ok, row, window, first)
        total, squares, low, high = add_moments(pattern, ok, total, squares, low, high)
    close_window(row, window, first)
    close_moments(row, total, squares, low, high)


@triton.jit(do_not_specialize=["row", "address", "n"])
def count_one(rows, row, address, n, table, KIND: tl.constexpr):
    """Count one tensor into a row; one program for each part. Needs no table of jobs."""
    start = tl.program_id(0).to(tl.int64) * PART
    stop = tl.minimum(start + PART, n)
    count_part(address, start, stop, rows + row * ROW_WORDS, table, KIND)


@triton.jit
def count_many(rows, jobs, parts, table, KIND: tl.constexpr):
    """Count many tensors at once. Jobs: address, elements, row. Parts: job, start."""
    part = parts + 2 * tl.program_id(0)
    job = jobs + 3 * tl.load(part)
    start = tl.load(part + 1)
    stop = tl.minimum(start + PART, tl.load(job + 1))
    row = rows + tl.load(job + 2) * ROW_WORDS
    count_part(tl.load(job), start, stop, row, table, KIND)


@triton.jit
def exponent_of(pattern):
    """floor(log2) of a nonzero finite magnitude."""
    magnitude = pattern & 0x7FFFFFFF
    whole = (magnitude.to(tl.float32).to(tl.uint32, bitcast=True) >> 23).to(tl.int32) - 127 - 149
    return tl.where(magnitude < 0x00800000, whole, (magnitude >> 23).to(tl.int32) - 127)


@triton.jit
def difference(after, before):
    """Pattern of after - before, rounded once, whatever the flush-to-zero flags."""
    wide = exact_value(after) - exact_value(before)
    tiny = tl.abs(wide) < 1.1754943508222875e-38  # 2^-126: exact, a whole multiple of 2^-149
    scaled = tl.where(tiny, wide, 0.0) * 1.8889465931478581e22 * 3.777893186295716e22  # 2^149
    units = scaled.to(tl.int64)
    small = tl.where(units < 0, (-units) | 0x80000000, units).to(tl.uint32)
    rounded = wide.to(tl.float32).to(tl.uint32, bitcast=True)
    return tl.where(units != 0, small, rounded)  # a zero has its sign from the subtraction


@triton.jit
def is_nonzero_finite(pattern):
    """Whether a pattern is that of a nonzero finite number."""
    return ((pattern & 0x7FFFFFFF) - 1) < 0x7F7FFFFF


@triton.jit
def compare_block(after, before, update, gradient, ok, ratios, updatable, unmoved):
    """Count exponent differences, and the elements that should have moved and did not."""
    both = ok & is_nonzero_finite(update) & is_nonzero_finite(before)
    ratio = exponent_of(update) - exponent_of(before) + RATIO_ZERO
    ratios += tl.histogram(tl.where(both, ratio, 0), N_RATIOS, mask=both)
    moves = ok & is_nonzero_finite(gradient)
    updatable += tl.sum(moves.to(tl.int64))
    unmoved += tl.sum((moves & (before == after)).to(tl.int64))
    return ratios, updatable, unmoved


@triton.jit
def count_updates(rows, extras, jobs, parts, table, KIND: tl.constexpr, HAS_GRADIENT: tl.constexpr):
    """Compare optimizer steps: three reads, three rows and what an update has beside them.

    Jobs: addresses of after, before and gradient, elements, first of three rows, extra.
    """
    part = parts + 2 * tl.program_id(0)
    job = jobs + 6 * tl.load(part)
    start = tl.load(part + 1)
    stop = tl.minimum(start + PART, tl.load(job + 3))
    row = rows + tl.load(job + 4) * ROW_WORDS
    ratios = tl.zeros((N_RATIOS,), tl.int32)
    updatable, unmoved = tl.full((), 0, tl.int64), tl.full((), 0, tl.int64)
    for at in range(start, stop, BLOCK):
        offsets = at + tl.arange(0, BLOCK)
        ok = offsets < stop
        after = load_patterns(tl.load(job), offsets, ok, table, KIND)
        before = load_patterns(tl.load(job + 1), offsets, ok, table, KIND)
        gradient = tl.zeros((BLOCK,), tl.uint32)
        if HAS_GRADIENT:
            gradient = load_patterns(tl.load(job + 2), offsets, ok, table, KIND)
        update = difference(after, before)
        ratios, updatable, unmoved = compare_block(
            after, before, update, gradient, ok, ratios, updatable, unmoved
        )
    extra = extras + tl.load(job + 5) * EXTRA_WORDS
    index = tl.arange(0, N_RATIOS)
    tl.atomic_add(extra + index, ratios.to(tl.int64), mask=ratios != 0, sem="relaxed")
    tl.atomic_add(extra + N_RATIOS, updatable, sem="relaxed")
    tl.atomic_add(extra + N_RATIOS + 1, unmoved, sem="relaxed")
    count_part(tl.load(job), start, stop, row, table, KIND)
    if HAS_GRADIENT:
        count_part(tl.load(job + 2), start, stop, row + ROW_WORDS, table, KIND)
    count_difference(tl.load(job), tl.load(job + 1), start, stop, row + 2 * ROW_WORDS, table, KIND)


@triton.jit
def count_difference(after_at, before_at, start, stop, row, table, KIND: tl.constexpr):
    """Count the updates of one part; its elements come from the cache a second time."""
    offsets = start + tl.arange(0, BLOCK)
    ok = offsets < stop
    after = load_patterns(after_at, offsets, ok, table, KIND)
    first = window_of(difference(after, load_patterns(before_at, offsets, ok, table, KIND)), ok)
    window = tl.zeros((WINDOW,), tl.int32)
    total, squares, low, high = no_moments()
    for at in range(start, stop, BLOCK):
        offsets = at + tl.arange(0, BLOCK)
        ok = offsets < stop
        after = load_patterns(after_at, offsets, ok, table, KIND)
        update = difference(after, load_patterns(before_at, offsets, ok, table, KIND))
        window = count_block(update, ok, row, window, first)
        total, squares, low, high = add_moments(update, ok, total, squares, low, high)
    close_window(row, window, first)
    close_moments(row, total, squares, low, high)


@triton.jit(do_not_specialize=["address", "n", "inner", "n_channels"])
def channel_of_planes(counts, address, n, inner, n_channels, table, KIND: tl.constexpr):
    """Counts per channel where a channel's elements lie in runs of ``inner``.

    One program for each channel and share of its elements. Counts: positive, zero, not finite.
    """
    channel = tl.program_id(0).to(tl.int64)
    per_channel = n // n_channels
    start = tl.program_id(1).to(tl.int64) * PART
    stop = tl.minimum(start + PART, per_channel)
    positive, zero, strange = (
        tl.full((), 0, tl.int64),
        tl.full((), 0, tl.int64),
        tl.full((), 0, tl.int64),
    )
    for at in range(start, stop, BLOCK):
        i = at + tl.arange(0, BLOCK)
        ok = i < stop
        offsets = (i // inner) * (inner * n_channels) + channel * inner + i % inner
        pattern = load_patterns(address, offsets, ok, table, KIND)
        magnitude = pattern & 0x7FFFFFFF
        finite = magnitude < 0x7F800000
        positive += tl.sum((ok & finite & (magnitude != 0) & (pattern == magnitude)).to(tl.int64))
        zero += tl.sum((ok & (magnitude == 0)).to(tl.int64))
        strange += tl.sum((ok & ~finite).to(tl.int64))
    tl.atomic_add(counts + channel, positive, sem="relaxed")
    tl.atomic_add(counts + n_channels + channel, zero, sem="relaxed")
    tl.atomic_add(counts + 2 * n_channels + channel, strange, sem="relaxed")


@triton.jit(do_not_specialize=["address", "n", "n_channels"])
def channel_of_columns(
    counts, address, n, n_channels, table, KIND: tl.constexpr, ROWS: tl.constexpr
):
    """The same where the channel is the fastest dimension: a tile of rows and 64 columns."""
    channel = tl.program_id(0).to(tl.int64) * 64 + tl.arange(0, 64)
    n_rows = n // n_channels
    start = tl.program_id(1).to(tl.int64) * 64 * ROWS
    stop = tl.minimum(start + 64 * ROWS, n_rows)
    nothing = tl.zeros((64,), tl.int64)
    positive, zero, strange = nothing, nothing, nothing
    for at in range(start, stop, ROWS):
        row = at + tl.arange(0, ROWS)
        ok = (row < stop)[:, None] & (channel < n_channels)[None, :]
        offsets = row[:, None] * n_channels + channel[None, :]
        pattern = load_patterns(address, offsets, ok, table, KIND)
        magnitude = pattern & 0x7FFFFFFF
        finite = magnitude < 0x7F800000
        above = ok & finite & (magnitude != 0) & (pattern == magnitude)
        positive += tl.sum(above.to(tl.int64), axis=0)
        zero += tl.sum((ok & (magnitude == 0)).to(tl.int64), axis=0)
        strange += tl.sum((ok & ~finite).to(tl.int64), axis=0)
    ok = channel < n_channels
    tl.atomic_add(counts + channel, positive, mask=ok, sem="relaxed")
    tl.atomic_add(counts + n_channels + channel, zero, mask=ok, sem="relaxed")
    tl.atomic_add(counts + 2 * n_channels + channel, strange, mask=ok, sem="relaxed")
