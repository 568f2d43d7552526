"""What elements that share a scale have in common: their largest magnitude, and powers of two."""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
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
    Loop,
    filled,
    index,
    load,
    splat,
    store,
)

# From here on a subnormal number is below 2^-32 of the smallest value of every element format.
LEAST = (127 - 60) << 23
# From here on what numbers are added to, to be cut, could be too large.
MOST = (127 + 104) << 23


def word(value: int) -> ir.Constant:
    """A 32-bit constant."""
    return ir.Constant(I32, value)


def extreme(builder: ir.IRBuilder, relation: str, x: Any, y: Any) -> Any:
    """The larger (">") or smaller ("<") of unsigned integers, lane by lane."""
    return builder.select(builder.icmp_unsigned(relation, x, y), x, y)


def reduced(builder: ir.IRBuilder, what: str, x: Any) -> Any:
    """The largest ("umax") or smallest ("umin") lane."""
    kind = ir.FunctionType(I32, [V32])
    name = f"llvm.vector.reduce.{what}.v{LANES}i32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])


def vectors_of(builder: ir.IRBuilder, block: Any) -> Any:
    """How many vectors a block has."""
    return builder.lshr(block, index(LANES.bit_length() - 1))


def _largest(builder: ir.IRBuilder, at: Any, n_vectors: Any) -> Any:
    """The largest magnitude of a block."""
    loop = Loop(builder, n_vectors, [filled(V32, 0)])
    bits = load(builder, at, V32, builder.mul(loop.index, index(4 * LANES)))
    size = builder.and_(bits, filled(V32, SIGN32 - 1))
    (most,) = loop.close([extreme(builder, ">", size, loop.state[0])])
    return reduced(builder, "umax", most)


def _emit_moves(builder: ir.IRBuilder, arguments: Any) -> Any:
    source, n, block, most, moves = arguments
    n_vectors, size = vectors_of(builder, block), builder.shl(block, index(2))
    field = builder.and_(builder.trunc(most, I32), word(EXPONENT32))
    loop = Loop(builder, builder.udiv(n, block), [word(0), word(EXPONENT32)])
    skip = builder.mul(loop.index, size)
    largest = _largest(builder, builder.add(source, skip), n_vectors)
    top = builder.and_(extreme(builder, ">", largest, word(LEAST)), word(EXPONENT32))
    by = splat(builder, builder.sub(top, field))
    vectors = Loop(builder, n_vectors, [])
    place = builder.add(skip, builder.mul(vectors.index, index(4 * LANES)))
    store(builder, by, builder.add(moves, place), 0)
    vectors.close([])
    # Zero, less one, is above all magnitudes.
    above = builder.sub(largest, word(1))
    ends = (">", largest, loop.state[0]), ("<", above, loop.state[1])
    worst, least = loop.close([extreme(builder, *each) for each in ends])
    is_small = builder.icmp_unsigned("<", worst, word(MOST))
    return builder.and_(is_small, builder.icmp_unsigned(">=", least, word(LEAST - 1)))


def _emit_largest(builder: ir.IRBuilder, arguments: Any) -> None:
    source, n, block, tops = arguments
    n_vectors = vectors_of(builder, block)
    loop = Loop(builder, builder.udiv(n, block), [])
    at = builder.add(source, builder.mul(loop.index, builder.shl(block, index(2))))
    largest = builder.bitcast(_largest(builder, at, n_vectors), F32)
    place = builder.add(tops, builder.shl(loop.index, index(3)))
    store(builder, builder.fpext(largest, F64), place, 0)
    loop.close([])


@intrinsic
def moves_of(
    typing_context: Any, source: Any, n: Any, block: Any, most: Any, moves: Any
) -> Any:
    """Write for each element by how much its block moves the exponents of its format.

    That is an exponent field in its place: that of the largest magnitude of the block less that of
    the largest value of the format. Returns whether all blocks are zero or have a largest number
    well inside the range of binary32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_moves(builder, arguments)

    return types.boolean(types.uint64, *[types.int64] * 3, types.uint64), generate


@intrinsic
def largest_of(typing_context: Any, source: Any, n: Any, block: Any, tops: Any) -> Any:
    """Write the largest magnitude of each block, in binary64; NaN counts as larger than all."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_largest(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64, types.uint64), generate
