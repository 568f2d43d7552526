"""Tiles of exact sums: the sum of a block and the sum so far in two binary64 numbers.

Each product of binary32 numbers is exact in binary64; TwoSum (Knuth) keeps what an addition loses,
and that again. Where even the second number would have to be rounded, or something is not finite,
the output is marked and left as it was: the caller forms it otherwise. Two numbers are rounded
once, by rounding their sum to odd first (Boldo, Melquiond 2008).
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import (
    F32,
    I16,
    LANES,
    V64,
    VD,
    VF,
    Loop,
    filled,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS, Chain


def _two_sum(builder: ir.IRBuilder, a: Any, b: Any) -> tuple[Any, Any]:
    """A sum and what rounding took from it."""
    total = builder.fadd(a, b)
    part = builder.fsub(total, a)
    error = builder.fadd(builder.fsub(a, builder.fsub(total, part)), builder.fsub(b, part))
    return total, error


def _block(chain: Chain, first: Any, size: Any, places: tuple[Any, Any], state: list[Any]) -> Any:
    """A block of products joined to one vector of sums; where that went wrong."""
    builder = chain.builder
    row, panel = places
    total, odd = state
    start = [builder.fpext(total, VD), filled(VD, -0.0), filled(V64, 0)]
    loop = Loop(builder, size, start)
    k = builder.add(first, loop.index)
    at_a = builder.add(builder.mul(k, index(4 * ROWS)), builder.mul(row, index(4)))
    at_b = builder.add(builder.mul(k, index(4 * COLUMNS)), builder.mul(panel, index(4 * LANES)))
    x = builder.fpext(splat(builder, load(builder, chain.a_at, F32, at_a)), VD)
    y = builder.fpext(load(builder, chain.b_at, VF, at_b), VD)
    high, low, lost = loop.state
    high, error = _two_sum(builder, high, builder.fmul(x, y))
    low, error = _two_sum(builder, low, error)
    # Anything but zeros, with either sign, leaves a mark; NaN does.
    lost = builder.or_(lost, builder.shl(builder.bitcast(error, V64), filled(V64, 1)))
    high, low, lost = loop.close([high, low, lost])
    none = builder.fcmp_ordered("==", low, filled(VD, 0.0))
    value = builder.select(none, high, chain.odd_sum(high, low))
    odd = builder.or_(odd, builder.icmp_unsigned("!=", lost, filled(V64, 0)))
    return [builder.fptrunc(chain.nearest(value), VF), odd]


def emit(builder: ir.IRBuilder, arguments: Any) -> None:
    """All blocks, one vector of the tile after the other; sixteen marks for each."""
    a_at, b_at, c_at, marks_at, n_blocks, size, params = arguments
    chain = Chain(builder, (a_at, b_at, c_at, n_blocks, params), fused=True)
    vectors = Loop(builder, index(ROWS * PANELS), [])
    row = builder.lshr(vectors.index, index(PANELS.bit_length() - 1))
    panel = builder.and_(vectors.index, index(PANELS - 1))
    at_c = builder.add(c_at, builder.mul(vectors.index, index(4 * LANES)))
    before = load(builder, at_c, VF, 0)
    none = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)
    blocks = Loop(builder, n_blocks, [before, none])
    first = builder.mul(blocks.index, size)
    after, odd = blocks.close(_block(chain, first, size, (row, panel), blocks.state))
    store(builder, builder.select(odd, before, after), at_c, 0)
    marks = builder.add(marks_at, builder.mul(vectors.index, index(2)))
    store(builder, builder.bitcast(odd, I16), marks, 0)
    vectors.close([])


@intrinsic
def exact(
    typing_context: Any, a: Any, b: Any, c: Any, marks: Any, n_blocks: Any, size: Any, params: Any
) -> Any:
    """Join n_blocks >= 1 blocks of some products each to a tile; all others are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, arguments)
        return context.get_dummy_value()

    kinds = [*[types.uint64] * 4, types.int64, types.int64, types.uint64]
    return types.void(*kinds), generate
