"""Rounding of blocks whose scale has a significand: x over a step s, to a format of few values.

Steps are binary64 numbers of up to 28 bits, elements binary32 numbers. What decides between two
values of the format is a threshold T of 3 bits between them: x / s >= T just where x >= T s, which
is exact in binary64. So nothing is divided: the products are rounded up to binary32, or to the next
number above where the threshold itself still belongs to the lower value, and x is compared with
them. A value of the format has one or two bits; times the step it is a power of two times s or
1.5 s, each of which is rounded once, to binary32, for the whole block.

Stochastic rounding compares with the quotient in binary64, rounded. Here it has the product of x
and the reciprocal of s in binary32. With s rounded, inverted and multiplied it is wrong by less
than 3.1 units in the last place of 1 to 2, or of the binade where that is higher. Where what is cut
off comes out within 8 such units of where it turns, the decision is in doubt, and the block must be
rounded in binary64.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir

from deephochuli.kernels._cpu_emit import (
    EXPONENT32,
    F32,
    F64,
    I32,
    I64,
    V32,
    Loop,
    bits_of,
    filled,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import N_THRESHOLDS, Word
from deephochuli.kernels.rounding._cpu_blocks import (
    CARD,
    POSITIVE,
    S_CARDS,
    S_STEPS,
    Noise,
    Vectors,
    extreme,
    number_of,
    reduced,
)

INVERSE, STEP, STEP15 = range(3)
"""Rows: the reciprocal of a block's step, the step, and 1.5 of it, in binary32."""
# Of a lattice, in bytes: what to add to the pattern of a product before it is cut, and the values
# above thresholds in binary32. Thresholds in binary64 come first; there is place for eight of each.
_PLACES = N_THRESHOLDS + 1
_BUMPS, _VALUES = 8 * _PLACES, 16 * _PLACES
# The bits that binary32 has of a pattern of binary64.
_KEPT = (1 << 64) - (1 << 29)
_D8, _I8 = ir.VectorType(F64, _PLACES), ir.VectorType(I64, _PLACES)
_F8 = ir.VectorType(F32, _PLACES)


def _make_cards(builder: ir.IRBuilder, n_blocks: Any, scratch: Any, lattice: Any) -> None:
    """Write for each block its thresholds: the first number that has the value above."""
    thresholds, bumps = load(builder, lattice, _D8, 0), load(builder, lattice, _I8, _BUMPS)
    loop = Loop(builder, n_blocks, [])
    at = builder.add(builder.shl(loop.index, index(3)), index(S_STEPS))
    step = splat(builder, load(builder, scratch, F64, at), _PLACES)
    bits = builder.bitcast(builder.fmul(thresholds, step), _I8)
    cut = builder.and_(builder.add(bits, bumps), filled(_I8, _KEPT))
    card = builder.add(scratch, builder.mul(loop.index, index(CARD)))
    store(builder, builder.fptrunc(builder.bitcast(cut, _D8), _F8), card, S_CARDS)
    loop.close([])


def _product(builder: ir.IRBuilder, value: Any, vectors: Vectors) -> Any:
    """Values of the format times the step, rounded once; patterns."""
    power = number_of(builder, builder.and_(value, filled(V32, EXPONENT32)))
    half = builder.and_(value, filled(V32, 1 << 22))
    is_odd = builder.icmp_unsigned("!=", half, filled(V32, 0))
    steps = vectors.of_block(STEP15, F32), vectors.of_block(STEP, F32)
    return bits_of(builder, builder.fmul(power, builder.select(is_odd, *steps)))


def emit_quotients(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by their thresholds."""
    source, target, n, block, scratch, lattice, _ = arguments
    _make_cards(builder, builder.udiv(n, block), scratch, lattice)
    places = [_VALUES + 4 * i for i in range(N_THRESHOLDS)]
    values = [splat(builder, load(builder, lattice, I32, place)) for place in places]
    vectors = Vectors(builder, n, block, scratch, [])
    x = load(builder, source, V32, vectors.skip)
    magnitude, value = builder.and_(x, filled(V32, POSITIVE)), filled(V32, 0)
    for i, above in enumerate(values):
        is_above = builder.icmp_unsigned(">=", magnitude, vectors.on_card(i))
        value = builder.select(is_above, above, value)
    vectors.store(_product(builder, value, vectors), x, target)
    vectors.close([])
    return index(1)


def emit_quotients_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by random bits; returns whether no decision is in doubt."""
    source, target, n, block, scratch, table, random = arguments
    noise = Noise(builder, table, slack=8)
    limit, most = (
        splat(builder, load(builder, table, I32, 4 * at)) for at in (Word.LOW_LIMIT, Word.MAX)
    )
    vectors = Vectors(builder, n, block, scratch, [filled(V32, POSITIVE)])
    x, bits = (load(builder, at, V32, vectors.skip) for at in (source, random))
    magnitude = number_of(builder, builder.and_(x, filled(V32, POSITIVE)))
    quotient = bits_of(builder, builder.fmul(magnitude, vectors.of_block(INVERSE, F32)))
    value, apart = noise.rounded(quotient, limit, bits)
    value = extreme(builder, "<", value, most)
    vectors.store(_product(builder, value, vectors), x, target)
    (closest,) = vectors.close([extreme(builder, "<", apart, vectors.state[0])])
    return builder.zext(reduced(builder, "umin", closest), I64)
