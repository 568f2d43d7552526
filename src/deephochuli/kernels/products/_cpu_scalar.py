"""Sums of products one output at a time, for any plan: what the tiles leave over.

Everything is exact in integers or in binary64; see `_reference` and `_aligned`, whose results these
functions give.
"""

# Compiled functions get their types from their callers; the type checker cannot follow.
# pyright: basic

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels._cpu_memory import pf64, pi64

i64, u64, f64 = np.int64, np.uint64, np.float64
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

# Parameters of a plan, int64 and binary64 mixed, eight bytes each.
(
    S_KIND,
    S_ORDER,
    S_FUSED,
    S_FLUSH,
    S_BLOCK,
    S_WIDE,  # the format is binary64
    S_PRECISION,
    S_EMIN,
    S_MODE,
    S_STAYS,  # whether a directed mode stays below the largest number
    S_MAX,
    S_BEYOND,
    S_INFINITY,  # what an infinite sum becomes
    S_INPUTS_EMIN,
    S_FRACTION,
    S_FLOORS,
    S_ZERO,  # least exponent of an aligned sum
    S_LATE,
    S_SPLIT,
    S_LEAST,  # smallest normal number
    S_MAGIC,  # 1.5 2^(53-p)
    S_NATIVE,  # whether this is binary32, rounded to nearest, in numbers of binary32
    S_SLOTS,
) = range(23)
CHAIN, ALIGNED, EXACT = range(3)
SEQUENTIAL, PAIRWISE, INTERLEAVED = range(3)
EVEN, AWAY, ZERO, UP, DOWN, ODD = range(6)
NONE = -999

# Scratch of one output: waiting sums of a tree, then the digits of an exact sum.
N_WAITING = 64
N_DIGITS = 160
DIGIT_UNIT = 2200
SCRATCH_BYTES = 8 * (N_WAITING + N_DIGITS)

_LOW = u64(0xFFFFFFFF)
_HIDDEN = u64(1 << 52)
_FRACTION = u64((1 << 52) - 1)
_MAGNITUDE = u64((1 << 63) - 1)
_TOP = u64(1 << 63)
_INFINITY = u64(0x7FF << 52)


@intrinsic
def fused(typing_context: Any, x: Any, y: Any, z: Any) -> Any:
    """The fused x y + z of binary64 numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.f64")
        return builder.call(function, arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@nb.njit(**OPTIONS)
def rounds_up(mode, negative, above_half, tie, inexact, odd):
    """Whether a magnitude is rounded up."""
    if mode == EVEN:
        return above_half or (tie and odd)
    if mode == AWAY:
        return above_half or tie
    if mode == ODD:
        return inexact and not odd
    if mode == ZERO:
        return False
    return inexact and (negative == (mode == DOWN))


@nb.njit(**OPTIONS)
def round_word(negative, word, e, sticky, plan):
    """Round a magnitude, word 2^(e - 63) with its leading bit set and more below, to the format."""
    numbers, slots = pf64(plan), pi64(plan)
    p, emin = slots[S_PRECISION], slots[S_EMIN]
    drop = i64(64) - p + max(i64(0), emin - e)
    quotient, above_half, tie, rest = u64(0), False, False, word
    if drop < 64:
        quotient = word >> u64(drop)
        rest = word & ((u64(1) << u64(drop)) - u64(1))
    if drop <= 64:
        half = u64(1) << u64(drop - 1)
        above_half = rest > half or (rest == half and sticky)
        tie = rest == half and not sticky
    inexact = rest != u64(0) or sticky
    odd = (quotient & u64(1)) == u64(1)
    if rounds_up(slots[S_MODE], negative, above_half, tie, inexact, odd):
        quotient += u64(1)
    value = math.ldexp(f64(quotient), max(e, emin) - p + 1)
    if value > numbers[S_MAX]:
        value = numbers[S_BEYOND]
        mode = slots[S_MODE]
        directed = UP if negative else DOWN
        if slots[S_STAYS] != 0 and (mode == ZERO or mode == ODD or mode == directed):
            value = numbers[S_MAX]
    return -value if negative else value


@nb.njit(**OPTIONS)
def round_nearest(x, plan):
    """Round a binary64 number to the nearest of a format inside binary32, without branches.

    3 2^(52-p) times the power of two below it is added and taken away.
    """
    numbers = pf64(plan)
    bits = u64(f64(x).view(np.uint64))
    power = u64(bits & _INFINITY).view(np.float64)
    magic = max(power, numbers[S_LEAST]) * numbers[S_MAGIC]
    size = u64(bits & _MAGNITUDE).view(np.float64)
    value = (size + magic) - magic
    value = numbers[S_BEYOND] if value > numbers[S_MAX] else value
    value = numbers[S_INFINITY] if size == math.inf else value
    value = u64(u64(f64(value).view(np.uint64)) | (bits & _TOP)).view(np.float64)
    return value if size <= math.inf else x


@nb.njit(**OPTIONS)
def round_number(x, plan):
    """Round a binary64 number to the format."""
    slots = pi64(plan)
    if slots[S_MODE] == EVEN and slots[S_PRECISION] <= 24:
        return round_nearest(x, plan)
    bits = u64(f64(x).view(np.uint64))
    magnitude, negative = bits & _MAGNITUDE, bits > _MAGNITUDE
    if magnitude == u64(0):
        return x
    field = i64(magnitude >> u64(52))
    if field == 0x7FF:
        if math.isnan(x):
            return x
        infinity = pf64(plan)[S_INFINITY]
        return -infinity if negative else infinity
    word, e = magnitude & _FRACTION, field - 1023
    if field == 0:
        e = i64(-1022)
        while (word & _HIDDEN) == u64(0):
            word <<= u64(1)
            e -= 1
    word |= _HIDDEN
    return round_word(negative, word << u64(11), e, False, plan)


@nb.njit(**OPTIONS)
def sum_to_odd(a, b):
    """The sum in binary64, rounded to odd."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    bits = u64(f64(total).view(np.uint64))
    if not math.isfinite(total) or error == 0.0 or (bits & u64(1)) == u64(1):
        return total
    bits = bits + u64(1) if (error > 0.0) == (total > 0.0) else bits - u64(1)
    return u64(bits).view(np.float64)


@nb.njit(**OPTIONS)
def flushed(x):
    """A zero, with the sign, for what is subnormal in binary32."""
    return math.copysign(0.0, x) if abs(x) < 2.0**-126 else x


@nb.njit(**OPTIONS)
def add(x, y, plan):
    """Addition, rounded once to the format."""
    slots = pi64(plan)
    if slots[S_WIDE] != 0:
        return x + y
    total = round_number(sum_to_odd(x, y), plan)
    return flushed(total) if slots[S_FLUSH] != 0 else total


@nb.njit(**OPTIONS)
def add_values(x, y, plan):
    """The sum of two values of the format, rounded to nearest; twice does no harm to 25 bits."""
    return round_nearest(x + y, plan)


@nb.njit(**OPTIONS)
def product(x, y, plan):
    """A product on its way into a sum that is not fused."""
    value = round_number(x * y, plan) if pi64(plan)[S_WIDE] == 0 else x * y
    return flushed(value) if pi64(plan)[S_FLUSH] != 0 else value


@nb.njit(**OPTIONS)
def step(total, x, y, plan):
    """One addition of a chain."""
    slots = pi64(plan)
    if slots[S_FUSED] == 0:
        return add(total, product(x, y, plan), plan)
    if slots[S_WIDE] != 0:
        return fused(x, y, total)
    return add(total, x * y, plan)


@nb.njit(**OPTIONS)
def chain(a, b, first, n, stride, total, plan):
    """A sequential chain over every stride-th product."""
    for k in range(first, n, stride):
        total = step(total, a[k], b[k], plan)
    return total


@nb.njit(**OPTIONS)
def tree(a, b, n, waiting, plan):
    """A binary tree over neighbouring products, by a binary counter."""
    height = 0
    for k in range(n):
        total = product(a[k], b[k], plan)
        filled = k
        while filled & 1:
            height -= 1
            total = add(waiting[height], total, plan)
            filled >>= 1
        waiting[height] = total
        height += 1
    total = waiting[height - 1] if height else 0.0
    for i in range(height - 2, -1, -1):
        total = add(waiting[i], total, plan)
    return total


@nb.njit(**OPTIONS)
def exponent_of(x, emin):
    """Exponent of a number that is not zero, not below a smallest one."""
    field = i64((u64(f64(x).view(np.uint64)) & _MAGNITUDE) >> u64(52))
    return max(field - 1023, emin)


@nb.njit(**OPTIONS)
def cut(value, shift, floors):
    """An integer shifted to the right, or to the left by a negative shift."""
    if shift <= 0:
        return value << min(-shift, i64(40))
    shift = min(shift, i64(62))
    if floors or value >= 0:
        return value >> shift
    return -((-value) >> shift)


@nb.njit(**OPTIONS)
def exponent_of_product(x, y, emin):
    """Sum of the operands' exponents; very small if there is a zero."""
    if x == 0.0 or y == 0.0 or not math.isfinite(x) or not math.isfinite(y):
        return i64(NONE)
    return max(exponent_of(x, emin) + exponent_of(y, emin), i64(NONE))


@nb.njit(**OPTIONS)
def largest_exponent(a, b, first, stop, stride, emin):
    """The largest exponent of some products."""
    largest = i64(NONE)
    for k in range(first, stop, stride):
        largest = max(largest, exponent_of_product(a[k], b[k], emin))
    return largest


@nb.njit(**OPTIONS)
def significand(x, e):
    """A number as a whole number of 2^(e - 23)."""
    return i64(math.ldexp(x, i64(23) - e))


@nb.njit(**OPTIONS)
def added(a, b, first, stop, stride, largest, plan):
    """Products cut at F bits below an exponent and added."""
    slots = pi64(plan)
    emin, total = slots[S_INPUTS_EMIN], i64(0)
    for k in range(first, stop, stride):
        e = exponent_of_product(a[k], b[k], emin)
        if e != NONE:
            size = significand(a[k], exponent_of(a[k], emin))
            size *= significand(b[k], exponent_of(b[k], emin))
            shift = largest - slots[S_FRACTION] - (e - 46)
            total += cut(size, shift, slots[S_FLOORS] != 0)
    return total


@nb.njit(**OPTIONS)
def early(a, b, first, stop, c, plan):
    """A block whose products and running sum are aligned together; not rounded yet."""
    slots = pi64(plan)
    bits = slots[S_FRACTION]
    of_c = exponent_of(c, slots[S_EMIN]) if c != 0.0 else i64(NONE)
    largest = largest_exponent(a, b, first, stop, 1, slots[S_INPUTS_EMIN])
    largest = max(max(largest, of_c), slots[S_ZERO])
    total = added(a, b, first, stop, 1, largest, plan)
    if c != 0.0:
        shift = largest - bits - (of_c - 23)
        total += cut(significand(c, of_c), shift, slots[S_FLOORS] != 0)
    return math.ldexp(f64(total), largest - bits)


@nb.njit(**OPTIONS)
def late(a, b, first, stop, c, plan):
    """A block whose products are added before the running sum joins; not rounded yet."""
    slots = pi64(plan)
    bits, last, emin = slots[S_FRACTION], slots[S_LATE] + 1, slots[S_INPUTS_EMIN]
    stride = 2 if slots[S_SPLIT] != 0 and stop - first > 1 else 1
    of_products = largest_exponent(a, b, first, stop, 1, emin)
    products = i64(0)
    for start in range(stride):
        own = largest_exponent(a, b, first + start, stop, stride, emin)
        part = added(a, b, first + start, stop, stride, own, plan)
        products += cut(part, of_products - own, True)
    of_c = exponent_of(c, slots[S_EMIN]) if c != 0.0 else slots[S_EMIN]
    largest = max(of_products, of_c)
    products = cut(products, largest - of_products + bits - last, True)
    total = i64(0)
    if c != 0.0 and not (slots[S_SPLIT] != 0 and of_c < largest - bits - 1):
        total = cut(significand(c, of_c), largest - of_c + 23 - bits, True)
    value = math.ldexp(f64(products + (total << (last - bits))), largest - last)
    if value == 0.0:
        return value
    unit = exponent_of(value, slots[S_EMIN]) - (last - 1)
    return math.ldexp(math.floor(math.ldexp(value, -unit)), unit)


@nb.njit(**OPTIONS)
def sign_of(x):
    """1, -1 or 0; what is not finite stays."""
    if not math.isfinite(x):
        return x
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


@nb.njit(**OPTIONS)
def special(a, b, first, stop, c, plan):
    """The sum of signs, in which infinities and NaN stay: finite if all operands were."""
    slots = pi64(plan)
    total = 0.0 if math.isfinite(c) else c
    limit = slots[S_LATE] > 0 and slots[S_SPLIT] == 0
    for k in range(first, stop):
        value = sign_of(a[k]) * sign_of(b[k])
        if limit and abs(a[k] * b[k]) >= 2.0**128:
            value *= math.inf
        total += value
    return total


@nb.njit(**OPTIONS)
def aligned_block(a, b, first, stop, c, plan):
    """One block of an aligned sum, rounded."""
    odd = special(a, b, first, stop, c, plan)
    if not math.isfinite(odd):
        return odd
    if pi64(plan)[S_LATE] > 0:
        return round_number(late(a, b, first, stop, c, plan), plan) + 0.0
    return round_number(early(a, b, first, stop, c, plan), plan) + 0.0


@nb.njit(**OPTIONS)
def put(digits, value, at):
    """Add a whole number of less than 55 bits times 2^at to digits of 32 bits with a sign each."""
    negative = value < 0
    size = -value if negative else value
    for _ in range(2):
        place, shift = at >> 5, at & 31
        part = (size & i64((1 << 27) - 1)) << shift
        low, high = part & i64(0xFFFFFFFF), part >> 32
        digits[place] += -low if negative else low
        digits[place + 1] += -high if negative else high
        size >>= 27
        at += 27


@nb.njit(**OPTIONS)
def put_product(digits, x, y):
    """Add an exact product of finite binary64 numbers."""
    if x == 0.0 or y == 0.0:
        return
    sign = i64(-1) if (x < 0.0) != (y < 0.0) else i64(1)
    ex, ey = exponent_of(x, i64(-1022)) - 52, exponent_of(y, i64(-1022)) - 52
    sx, sy = i64(math.ldexp(abs(x), -ex)), i64(math.ldexp(abs(y), -ey))
    at, low = ex + ey + DIGIT_UNIT, i64((1 << 26) - 1)
    xl, yl, xh, yh = sx & low, sy & low, sx >> 26, sy >> 26
    put(digits, sign * xl * yl, at)
    put(digits, sign * xl * yh, at + 26)
    put(digits, sign * xh * yl, at + 26)
    put(digits, sign * xh * yh, at + 52)


@nb.njit(**OPTIONS)
def take_sum(digits, plan):
    """The exact sum of the digits, rounded to the format; the digits are zero afterwards."""
    carry = i64(0)
    for i in range(N_DIGITS):
        value = digits[i] + carry
        digits[i] = value & i64(0xFFFFFFFF)
        carry = value >> 32
    negative = carry < 0
    if negative:
        borrow = i64(1)
        for i in range(N_DIGITS):
            value = (digits[i] ^ i64(0xFFFFFFFF)) + borrow
            digits[i] = value & i64(0xFFFFFFFF)
            borrow = value >> 32
    top = N_DIGITS - 1
    while top > 2 and digits[top] == 0:
        top -= 1
    word = (u64(digits[top]) << u64(32)) | u64(digits[top - 1])
    e = i64(32) * top + 31
    below, sticky = u64(digits[top - 2]), False
    for i in range(top - 2):
        sticky = sticky or digits[i] != 0
    for i in range(N_DIGITS):
        digits[i] = 0
    if word == u64(0) and below == u64(0):
        return 0.0
    while (word & _TOP) == u64(0):
        word = (word << u64(1)) | (below >> u64(31))
        below = (below << u64(1)) & _LOW
        e -= 1
    return round_word(negative, word, e - DIGIT_UNIT, sticky or below != u64(0), plan)


@nb.njit(**OPTIONS)
def exact_block(a, b, first, stop, c, digits, plan):
    """The exact sum of a block and the running sum, rounded once."""
    odd = special(a, b, first, stop, c, plan)
    if not math.isfinite(odd):
        return odd
    all_negative = math.copysign(1.0, c) < 0.0
    put_product(digits, c, 1.0)
    for k in range(first, stop):
        put_product(digits, a[k], b[k])
        all_negative = all_negative and math.copysign(1.0, a[k]) != math.copysign(1.0, b[k])
    total = take_sum(digits, plan)
    return -0.0 if total == 0.0 and all_negative and sum_is_zero(a, b, first, stop, c) else total


@nb.njit(**OPTIONS)
def sum_is_zero(a, b, first, stop, c):
    """Whether all addends are zeros."""
    zero = c == 0.0
    for k in range(first, stop):
        zero = zero and (a[k] == 0.0 or b[k] == 0.0)
    return zero


@nb.njit(**OPTIONS)
def partial_sum(a, b, n, start, has_start, scratch, plan):
    """The sum of n products by a plan, from a start."""
    slots = pi64(plan)
    kind, order, block = slots[S_KIND], slots[S_ORDER], slots[S_BLOCK]
    waiting, digits = pf64(scratch), pi64(scratch + u64(8 * N_WAITING))
    total = start
    if kind == ALIGNED:
        for first in range(0, n, block):
            total = aligned_block(a, b, first, min(first + block, n), total, plan)
        return total
    if kind == EXACT:
        for first in range(0, n, block):
            total = exact_block(a, b, first, min(first + block, n), total, digits, plan)
        return total
    if order == SEQUENTIAL:
        return chain(a, b, 0, n, 1, start, plan)
    if order == PAIRWISE:
        total = tree(a, b, n, waiting, plan)
    else:
        even = chain(a, b, 0, n, 2, 0.0, plan)
        total = add(even, chain(a, b, 1, n, 2, 0.0, plan), plan)
    return add(start, total, plan) if has_start else total
