"""Rounding of blocks whose scale has a significand: x over a step s, to a format of few values.

Steps are binary64 numbers of up to 28 bits, elements binary32 numbers. What decides between two
values of the format is a threshold T of 3 bits between them: x / s >= T just where x >= T s, which
is exact in binary64. So nothing is divided: the products are rounded up to binary32, or to the next
number above where the threshold itself still belongs to the lower value, and x is compared with
them. A value of the format has one or two bits; times the step it is a power of two times s or
1.5 s, each of which is rounded once, to binary32, for the whole block.

Stochastic rounding compares with the quotient in binary64, rounded. Here it has that of x and a
reciprocal in binary32, which together are wrong by less than 2.1 units in the last place of 1 to 2
(or of the binade where that is higher), and loses less than one more by leaving noise out. Where
what is cut off comes out within 8 such units of where it turns, the decision is in doubt, and the
block must be rounded in binary64.
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
    SIGN32,
    V32,
    VD,
    VF,
    Loop,
    bits_of,
    filled,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import Word
from deephochuli.kernels.rounding._cpu_scales import extreme, reduced, vectors_of, word

N_VALUES = 8
"""Magnitudes that a format may have, zero among them."""
# Of a lattice, in bytes: thresholds in binary64, what to add to a product before it is cut, and
# the values between them, in binary32.
L_THRESHOLDS, L_BUMPS, L_VALUES, LATTICE_BYTES = 0, 64, 128, 160
# What a block has, in bytes: its thresholds, all but the last for a value; and the reciprocal of
# its step, the step, and 1.5 of it.
CARD_BYTES, C_INVERSE, C_STEP, C_STEP15 = 48, 32, 36, 40
# Bits that binary64 has more than binary32, and a mask of them.
NARROWER = 52 - 23
BELOW = (1 << NARROWER) - 1
_DOUBT = 8
_D8, _I8 = ir.VectorType(F64, N_VALUES), ir.VectorType(I64, N_VALUES)
_F8 = ir.VectorType(F32, N_VALUES)
_POSITIVE = filled(V32, SIGN32 - 1)


def _emit_cards(builder: ir.IRBuilder, arguments: Any) -> None:
    steps, m, lattice, cards = arguments
    thresholds, bumps = load(builder, lattice, _D8, 0), load(builder, lattice, _I8, L_BUMPS)
    loop = Loop(builder, m, [])
    step = load(builder, steps, F64, builder.shl(loop.index, index(3)))
    card = builder.add(cards, builder.mul(loop.index, index(CARD_BYTES)))
    product = builder.fmul(thresholds, splat(builder, step, N_VALUES))
    bits = builder.add(builder.bitcast(product, _I8), bumps)
    cut = builder.and_(bits, filled(_I8, ~BELOW & (1 << 64) - 1))
    store(builder, builder.fptrunc(builder.bitcast(cut, _D8), _F8), card, 0)
    one = ir.Constant(F64, 1.0)
    factors = builder.fdiv(one, step), step, builder.fmul(step, ir.Constant(F64, 1.5))
    for place, factor in zip((C_INVERSE, C_STEP, C_STEP15), factors, strict=True):
        store(builder, builder.fptrunc(factor, F32), card, place)
    loop.close([])


class _Vectors:
    """The loop over the vectors of all blocks, and what is common to the elements of one."""

    def __init__(self, builder: ir.IRBuilder, n: Any, block: Any, cards: Any, state: Any) -> None:
        """Open the body; a block has a power of two of elements."""
        per_block = builder.cttz(block, ir.Constant(ir.IntType(1), 1))
        loop = Loop(builder, vectors_of(builder, n), [state])
        first = builder.mul(loop.index, index(LANES))
        number = builder.lshr(first, per_block)
        self._builder, self.close, (self.state,) = builder, loop.close, loop.state
        self._card = builder.add(cards, builder.mul(number, index(CARD_BYTES)))
        self.skip = builder.shl(first, index(2))

    def of_block(self, place: int, kind: Any = I32) -> Any:
        """A word of the block's card, in all lanes."""
        return splat(self._builder, load(self._builder, self._card, kind, place))

    def product(self, value: Any) -> Any:
        """Patterns of values of the format, as numbers times the step, rounded once."""
        builder = self._builder
        power = builder.bitcast(builder.and_(value, filled(V32, EXPONENT32)), VF)
        half = builder.and_(value, filled(V32, 1 << 22))
        is_odd = builder.icmp_unsigned("!=", half, filled(V32, 0))
        step = builder.select(is_odd, self.of_block(C_STEP15, F32), self.of_block(C_STEP, F32))
        return bits_of(builder, builder.fmul(power, step))


def _with_sign_of(builder: ir.IRBuilder, magnitude: Any, x: Any) -> Any:
    return builder.or_(magnitude, builder.and_(x, filled(V32, SIGN32)))


def _emit_decisions(builder: ir.IRBuilder, arguments: Any) -> None:
    source, target, n, block, cards, lattice = arguments
    values = [
        splat(builder, load(builder, lattice, I32, L_VALUES + 4 * i)) for i in range(N_VALUES - 1)
    ]
    vectors = _Vectors(builder, n, block, cards, index(0))
    x = load(builder, source, V32, vectors.skip)
    magnitude, value = builder.and_(x, _POSITIVE), filled(V32, 0)
    for i, above in enumerate(values):
        is_above = builder.icmp_unsigned(">=", magnitude, vectors.of_block(4 * i))
        value = builder.select(is_above, above, value)
    result = _with_sign_of(builder, vectors.product(value), x)
    store(builder, result, builder.add(target, vectors.skip), 0)
    vectors.close([vectors.state])


def _emit_noisy_decisions(builder: ir.IRBuilder, arguments: Any) -> Any:
    source, target, n, block, cards, table, random = arguments
    names = Word.CUT, Word.BELOW, Word.LOW_LIMIT, Word.MAX
    cut, below, limit, most = (splat(builder, load(builder, table, I32, 4 * at)) for at in names)
    spare, kept = builder.sub(filled(V32, 32), cut), builder.not_(below)
    far = builder.and_(below, filled(V32, ~(2 * _DOUBT - 1) & 0xFFFFFFFF))
    lift = builder.bitcast(limit, VF)
    vectors = _Vectors(builder, n, block, cards, _POSITIVE)
    x = load(builder, source, V32, vectors.skip)
    magnitude = builder.bitcast(builder.and_(x, _POSITIVE), VF)
    y = builder.fmul(magnitude, vectors.of_block(C_INVERSE, F32))
    is_low = builder.fcmp_ordered("<", y, lift)
    y = bits_of(builder, builder.select(is_low, builder.fadd(y, lift), y))
    noise = builder.lshr(load(builder, random, V32, vectors.skip), spare)
    y = builder.add(y, noise)
    apart = builder.and_(builder.add(y, filled(V32, _DOUBT)), far)
    value = builder.bitcast(builder.and_(y, kept), VF)
    value = bits_of(builder, builder.select(is_low, builder.fsub(value, lift), value))
    value = extreme(builder, "<", value, most)
    result = _with_sign_of(builder, vectors.product(value), x)
    store(builder, result, builder.add(target, vectors.skip), 0)
    (closest,) = vectors.close([extreme(builder, "<", apart, vectors.state)])
    return builder.icmp_unsigned("!=", reduced(builder, "umin", closest), word(0))


def _emit_wide(builder: ir.IRBuilder, arguments: Any, operation: str) -> None:
    source, target, n, block, steps = arguments
    per_block = builder.cttz(block, ir.Constant(ir.IntType(1), 1))
    loop = Loop(builder, vectors_of(builder, n), [])
    first = builder.mul(loop.index, index(LANES))
    at, wide_at = builder.shl(first, index(2)), builder.shl(first, index(3))
    number = builder.lshr(first, per_block)
    step = splat(builder, load(builder, steps, F64, builder.shl(number, index(3))))
    if operation == "divide":
        quotient = builder.fdiv(builder.fpext(load(builder, source, VF, at), VD), step)
        store(builder, quotient, builder.add(target, wide_at), 0)
    else:
        product = builder.fmul(load(builder, source, VD, wide_at), step)
        store(builder, builder.fptrunc(product, VF), builder.add(target, at), 0)
    loop.close([])


@intrinsic
def make_cards(typing_context: Any, steps: Any, m: Any, lattice: Any, cards: Any) -> Any:
    """Write the cards of m blocks from their steps and the lattice of the format."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_cards(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.uint64, types.uint64), generate


@intrinsic
def decide(
    typing_context: Any, source: Any, target: Any, n: Any, block: Any, cards: Any, lattice: Any
) -> Any:
    """Round blocks by their thresholds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_decisions(builder, arguments)
        return context.get_dummy_value()

    unsigned, signed = types.uint64, types.int64
    return types.void(unsigned, unsigned, signed, signed, unsigned, unsigned), generate


@intrinsic
def decide_with_noise(
    typing_context: Any,
    source: Any,
    target: Any,
    n: Any,
    block: Any,
    cards: Any,
    table: Any,
    random: Any,
) -> Any:
    """Round blocks by random bits; whether no decision is in doubt."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_noisy_decisions(builder, arguments)

    unsigned, signed = types.uint64, types.int64
    kinds = unsigned, unsigned, signed, signed, unsigned, unsigned, unsigned
    return types.boolean(*kinds), generate


@intrinsic
def divide_widely(
    typing_context: Any, source: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks divided by their steps, in binary64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide(builder, arguments, "divide")
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def multiply_widely(
    typing_context: Any, source: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks of binary64 numbers times their steps, each product rounded once to binary32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide(builder, arguments, "multiply")
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate
