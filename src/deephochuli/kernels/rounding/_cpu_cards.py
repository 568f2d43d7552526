"""Scales that have a significand: which one a block has, and what all blocks of one have in common.

There are few scales (E4M3 has 127). So each has a card, written once for a call: the step, which is
the scale times the unit; its reciprocal; and of the magnitudes that an element may have, the
products with the step. Of a block, only the number of its card has to be found.

A scale is rounded to nearest, ties to even, in binary32. A quotient that is not quite the true one
gives the value below, or next to that where both are close to it; then the middle above that value,
times the largest element and the unit, is compared with the largest magnitude of the block. Its
product with the first has few bits, and a fused sum has the sign of the exact one. So what a scale
becomes is never in doubt.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import (
    EXPONENT32,
    F32,
    F64,
    I32,
    I64,
    LANES,
    V32,
    V64,
    VD,
    VF,
    Loop,
    bits_of,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import N_PLACES, Word
from deephochuli.kernels.rounding._cpu_blocks import (
    S_INVERSES,
    S_PRODUCTS,
    S_SCALES,
    S_THRESHOLDS,
    extreme,
    number_of,
    reduced,
    smaller,
)

# The step of blocks whose scale is zero: no quotient with it reaches 2^-32 of a value.
BEYOND = 2.0**100
# Over a step instead of 1: makes reciprocals, and products with them, too small for certain.
NOT_QUITE_ONE = 1.0 - 2.0**-22
# The bits that binary32 has of a pattern of binary64.
KEPT = (1 << 64) - (1 << 29)
_STORED = 23


def _emit_write(builder: ir.IRBuilder, arguments: Any) -> None:
    scratch, plan, lattice, unit = arguments
    values, thresholds, bumps = (
        load(builder, lattice, kind, 8 * N_PLACES * i) for i, kind in enumerate((VD, VD, V64))
    )
    cut, least, most = (load(builder, plan, I32, 4 * at) for at in (Word.CUT, Word.STEP, Word.MAX))
    below = builder.sub(builder.lshr(least, cut), ir.Constant(I32, 1))
    n_cards = builder.add(builder.sub(builder.lshr(most, cut), below), ir.Constant(I32, 1))
    loop = Loop(builder, builder.zext(n_cards, I64), [])
    pattern = builder.shl(builder.add(builder.trunc(loop.index, I32), below), cut)
    scale = builder.fpext(builder.bitcast(pattern, F32), F64)
    is_zero = builder.icmp_unsigned("==", loop.index, index(0))
    step = builder.select(is_zero, ir.Constant(F64, BEYOND), builder.fmul(scale, unit))
    inverse = builder.fdiv(ir.Constant(F32, NOT_QUITE_ONE), builder.fptrunc(step, F32))
    steps = splat(builder, step)
    products = builder.fptrunc(builder.fmul(values, steps), VF)
    bits = builder.add(bits_of(builder, builder.fmul(thresholds, steps)), bumps)
    first = builder.bitcast(builder.and_(bits, filled(V64, KEPT)), VD)
    for part, size, value in (
        (S_SCALES, 8, step),
        (S_INVERSES, 4, inverse),
        (S_PRODUCTS, 4 * N_PLACES, products),
        (S_THRESHOLDS, 4 * N_PLACES, builder.fptrunc(first, VF)),
    ):
        at = builder.add(scratch, builder.mul(loop.index, index(size)))
        store(builder, value, at, part)
    loop.close([])


@intrinsic
def write_cards(typing_context: Any, scratch: Any, plan: Any, lattice: Any, unit: Any) -> Any:
    """Write the cards of all scales.

    Card 0 is that of the scale 0. Others follow one another like the patterns of numbers of the
    precision of scales, from the smallest one on.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_write(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.float64), generate


def _word(builder: ir.IRBuilder, plan: Any, word: Word) -> Any:
    return splat(builder, load(builder, plan, I32, 4 * word))


def _scales(builder: ir.IRBuilder, tops: Any, plan: Any, unit: Any, most: Any) -> Any:
    """The scales of blocks.

    Args:
        builder: Where to write.
        tops: The largest magnitudes of blocks.
        plan: Address of the words of the plan of scales, in binary32.
        unit: What scales are multiples of.
        most: The largest magnitude of an element.
    """
    cut, limit, largest = (
        _word(builder, plan, word) for word in (Word.CUT, Word.LOW_LIMIT, Word.MAX)
    )
    largest = number_of(builder, largest)
    span = builder.fdiv(filled(VF, 1.0), builder.fmul(most, unit))
    ratio = smaller(builder, builder.fmul(tops, span), largest)
    field = builder.and_(bits_of(builder, ratio), filled(V32, EXPONENT32))
    power = extreme(builder, ">", field, limit)
    stored = filled(V32, _STORED)
    large = number_of(builder, builder.add(power, builder.shl(cut, stored)))
    # Half of the last place of a number of p bits: 2^-p of its power of two, and p = 24 - cut.
    places = builder.sub(filled(V32, _STORED + 1), cut)
    half = number_of(builder, builder.sub(power, builder.shl(places, stored)))
    # Half a place less and rounded to nearest: that is rounded down, or one less if next to nothing
    # is cut off.
    total = builder.fadd(builder.fsub(ratio, half), large)
    low = builder.fsub(total, large)
    middle = builder.fadd(low, half)
    over = fma(builder, builder.fneg(builder.fmul(middle, most)), unit, tops)
    odd = builder.and_(bits_of(builder, total), filled(V32, 1))
    is_up = builder.icmp_signed(">", builder.add(bits_of(builder, over), odd), filled(V32, 0))
    high = builder.fadd(middle, half)
    return smaller(builder, builder.select(is_up, high, low), largest)


def _emit_find(builder: ir.IRBuilder, arguments: Any) -> Any:
    tops, n_blocks, cards, plan, unit, most = arguments
    cut, step = (_word(builder, plan, word) for word in (Word.CUT, Word.STEP))
    below = builder.sub(builder.lshr(step, cut), filled(V32, 1))
    unit, most = splat(builder, unit), splat(builder, most)
    n_vectors = builder.udiv(builder.add(n_blocks, index(LANES - 1)), index(LANES))
    loop = Loop(builder, n_vectors, [filled(V32, 0)])
    skip = builder.mul(loop.index, index(4 * LANES))
    top = load(builder, tops, V32, skip)
    scale = _scales(builder, number_of(builder, top), plan, unit, most)
    code = builder.lshr(bits_of(builder, scale), cut)
    number = builder.sub(extreme(builder, ">", code, below), below)
    store(builder, number, builder.add(cards, skip), 0)
    (largest,) = loop.close([extreme(builder, ">", top, loop.state[0])])
    return reduced(builder, "umax", largest)


@intrinsic
def find_cards(
    typing_context: Any, tops: Any, n: Any, cards: Any, plan: Any, unit: Any, most: Any
) -> Any:
    """Write the numbers of the cards of blocks; returns the largest of their largest magnitudes.

    All of these are patterns, in whole vectors.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_find(builder, arguments)

    u, single = types.uint64, types.float32
    return types.uint32(u, types.int64, u, u, single, single), generate
