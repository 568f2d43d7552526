"""Rounding of blocks whose scale has a significand: x over a step s, to a format of few values.

Steps are binary64 numbers of up to 28 bits, elements binary32 numbers. What decides between two
values of the format is a threshold T of 3 bits between them: x / s >= T just where x >= T s, which
is exact in binary64. So nothing is divided: the products are rounded up to binary32, or to the next
number above where the threshold itself still belongs to the lower value, and x is compared with
them. A value of the format has one or two bits. The step is taken apart into a binary32 number and
a rest of few bits, so the product of the value and the rest is exact, and a fused sum rounds once.

Stochastic rounding compares with the quotient in binary64, rounded. Here it has the product of x
and a reciprocal in binary32, made smaller by 2^-22. Three times it is rounded, each time by up to
2^-24, so it is too small by 2^-24 to 7 2^-24: less than 7 units in the last place. Where what is
cut off comes out within 8 of where it turns, the decision is in doubt, and the block must be
rounded in binary64.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir

from deephochuli.kernels._cpu_emit import (
    F32,
    F64,
    I32,
    I64,
    V32,
    VF,
    Loop,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import N_THRESHOLDS, Word
from deephochuli.kernels.rounding._cpu_blocks import (
    CARD,
    S_CARDS,
    S_STEPS,
    Noise,
    Vectors,
    extreme,
    magnitude_of,
    number_of,
    smaller,
)

INVERSE, STEP, STEP_REST = range(3)
"""Rows: the reciprocal of a block's step, made a little too small; the step in binary32, and what
that leaves of it."""
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
    """Values of the format times the step, rounded once: the product with the rest is exact."""
    step, rest = (vectors.of_block(row, F32) for row in (STEP, STEP_REST))
    return fma(builder, value, step, builder.fmul(value, rest))


def emit_quotients(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by their thresholds."""
    source, target, n, block, scratch, lattice = arguments[:6]
    _make_cards(builder, builder.udiv(n, block), scratch, lattice)
    places = [_VALUES + 4 * i for i in range(N_THRESHOLDS)]
    values = [splat(builder, load(builder, lattice, F32, place)) for place in places]
    vectors = Vectors(builder, n, block, scratch, [])
    x = load(builder, source, VF, vectors.skip)
    magnitude, value = magnitude_of(builder, x), filled(VF, 0.0)
    for i, above in enumerate(values):
        is_above = builder.fcmp_ordered(">=", magnitude, vectors.on_card(i))
        value = builder.select(is_above, above, value)
    vectors.store(_product(builder, value, vectors), x, target)
    vectors.close([])
    return index(1)


def emit_quotients_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by random bits; returns whether no decision is in doubt."""
    source, target, n, block, scratch, table, random, left_out = arguments
    noise = Noise(builder, table, 8, left_out)
    limit, most = (load(builder, table, I32, 4 * at) for at in (Word.LOW_LIMIT, Word.MAX))
    below = builder.sub(limit, ir.Constant(I32, 1))
    limit, below, most = (
        number_of(builder, splat(builder, pattern)) for pattern in (limit, below, most)
    )
    vectors = Vectors(builder, n, block, scratch, [filled(V32, 0)])
    x, bits = load(builder, source, VF, vectors.skip), load(builder, random, V32, vectors.skip)
    quotient = builder.fmul(magnitude_of(builder, x), vectors.of_block(INVERSE, F32))
    value, rest = noise.rounded(quotient, (limit, below), bits)
    value = smaller(builder, value, most)
    vectors.store(_product(builder, value, vectors), x, target)
    (largest,) = vectors.close([extreme(builder, ">", rest, vectors.state[0])])
    return noise.is_sure(largest)
