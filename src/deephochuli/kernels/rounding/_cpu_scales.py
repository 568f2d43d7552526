"""Scales that blocks of elements share: dividing by them, and multiplying again.

All on binary32 numbers: quotients go to another place, products stay where they are. A block has
some vectors of 16 elements. Powers of two scale in binary32, exactly. Other scales are binary64
numbers of up to 28 bits that divide by way of their rounded reciprocals: a quotient of a number of
24 bits by them that is no multiple of 1/4 is further from one, relatively, than 2^-30, so that the
few units in the last place by which it can be wrong decide nothing, and what is closer is taken to
be the multiple. It is then rounded to odd: no rounding to a few bits sees a difference. Stochastic
rounding does: it has quotients and products in binary64.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import (
    F32,
    F64,
    I32,
    I64,
    LANES,
    SIGN32,
    V32,
    V64,
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

# From here on a subnormal number is below 2^-32 of the smallest value of every element format.
LEAST = (127 - 60) << 23
_POSITIVE, _INFINITY, _STORED, _BIAS = SIGN32 - 1, 0x7F800000, 23, 127
# Bits that binary64 has more than binary32, and a mask of them.
_NARROWER = 52 - 23
_BELOW = (1 << _NARROWER) - 1


def _unsigned(builder: ir.IRBuilder, relation: str, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_unsigned(relation, x, y), x, y)


def _largest(builder: ir.IRBuilder, at: Any, n_vectors: Any) -> Any:
    """The largest magnitude of a block."""
    loop = Loop(builder, n_vectors, [filled(V32, 0)])
    bits = load(builder, at, V32, builder.mul(loop.index, index(4 * LANES)))
    size = builder.and_(bits, filled(V32, _POSITIVE))
    (most,) = loop.close([_unsigned(builder, ">", size, loop.state[0])])
    kind = ir.FunctionType(I32, [V32])
    name = f"llvm.vector.reduce.umax.v{LANES}i32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [most])


def _scaled(
    builder: ir.IRBuilder, at: Any, to: Any, n_vectors: Any, pattern: Any, most: Any
) -> None:
    """Multiply a block by a number; let no magnitude be above the largest, if there is one."""
    factor = splat(builder, builder.bitcast(pattern, VF.element))
    loop = Loop(builder, n_vectors, [])
    skip = builder.mul(loop.index, index(4 * LANES))
    place = builder.add(to, skip)
    bits = bits_of(builder, builder.fmul(load(builder, at, VF, skip), factor))
    if most is not None:
        size = _unsigned(builder, "<", builder.and_(bits, filled(V32, _POSITIVE)), most)
        bits = builder.or_(size, builder.and_(bits, filled(V32, SIGN32)))
    store(builder, bits, place, 0)
    loop.close([])


def _emit_down(builder: ir.IRBuilder, arguments: Any) -> Any:
    data, target, n, block, emax, most, scales = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    largest_value = splat(builder, builder.trunc(most, I32))
    loop = Loop(builder, builder.udiv(n, block), [index(1)])
    skip = builder.mul(loop.index, builder.shl(block, index(2)))
    at = builder.add(data, skip)
    largest = _largest(builder, at, n_vectors)
    above = builder.sub(largest, ir.Constant(I32, LEAST))
    inside = builder.icmp_unsigned("<", above, ir.Constant(I32, _INFINITY - LEAST))
    zero = builder.icmp_unsigned("==", largest, ir.Constant(I32, 0))
    easy = builder.and_(loop.state[0], builder.zext(builder.or_(inside, zero), I64))
    field = builder.sub(builder.zext(builder.lshr(largest, ir.Constant(I32, _STORED)), I64), emax)
    field = builder.select(builder.icmp_signed(">", field, index(1)), field, index(1))
    down = builder.sub(index(2 * _BIAS), field)
    patterns = [builder.trunc(builder.shl(each, index(_STORED)), I32) for each in (field, down)]
    place = builder.add(scales, builder.shl(loop.index, index(2)))
    store(builder, patterns[0], place, 0)
    _scaled(builder, at, builder.add(target, skip), n_vectors, patterns[1], largest_value)
    (easy,) = loop.close([easy])
    return builder.icmp_unsigned("!=", easy, index(0))


def _emit_up(builder: ir.IRBuilder, arguments: Any) -> None:
    data, n, block, scales = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    loop = Loop(builder, builder.udiv(n, block), [])
    at = builder.add(data, builder.mul(loop.index, builder.shl(block, index(2))))
    pattern = load(builder, scales, I32, builder.shl(loop.index, index(2)))
    _scaled(builder, at, at, n_vectors, pattern, None)
    loop.close([])


def _emit_largest(builder: ir.IRBuilder, arguments: Any) -> None:
    data, n, block, tops = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    loop = Loop(builder, builder.udiv(n, block), [])
    at = builder.add(data, builder.mul(loop.index, builder.shl(block, index(2))))
    largest = builder.bitcast(_largest(builder, at, n_vectors), F32)
    place = builder.add(tops, builder.shl(loop.index, index(3)))
    store(builder, builder.fpext(largest, F64), place, 0)
    loop.close([])


def _call(builder: ir.IRBuilder, name: str, x: Any) -> Any:
    """A function of LLVM on binary64 vectors."""
    kind = ir.FunctionType(VD, [VD])
    name = f"llvm.{name}.v{LANES}f64"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])


def _quotient(builder: ir.IRBuilder, x: Any, inverse: Any, most: Any) -> Any:
    """Patterns in binary32 that are rounded like x times an inverse, up to a largest one."""
    fourth = builder.fmul(builder.fpext(x, VD), builder.fmul(inverse, filled(VD, 4.0)))
    whole = _call(builder, "rint", fourth)
    apart = _call(builder, "fabs", builder.fsub(fourth, whole))
    near = builder.fcmp_ordered("<", apart, filled(VD, 2.0**-40))
    value = builder.fmul(builder.select(near, whole, fourth), filled(VD, 0.25))
    bits = builder.bitcast(value, V64)
    below = builder.and_(bits, filled(V64, _BELOW))
    sticky = builder.zext(builder.icmp_unsigned("!=", below, filled(V64, 0)), V64)
    kept = builder.and_(bits, filled(V64, ~_BELOW & (1 << 64) - 1))
    odd = builder.or_(kept, builder.shl(sticky, filled(V64, _NARROWER)))
    pattern = bits_of(builder, builder.fptrunc(builder.bitcast(odd, VD), VF))
    size = _unsigned(builder, "<", builder.and_(pattern, filled(V32, _POSITIVE)), most)
    return builder.or_(size, builder.and_(pattern, filled(V32, SIGN32)))


def _emit_quotients(builder: ir.IRBuilder, arguments: Any) -> None:
    data, target, n, block, most, steps = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    most = splat(builder, builder.trunc(most, I32))
    loop = Loop(builder, builder.udiv(n, block), [])
    skip = builder.mul(loop.index, builder.shl(block, index(2)))
    step = load(builder, steps, F64, builder.shl(loop.index, index(3)))
    inverse = splat(builder, builder.fdiv(ir.Constant(F64, 1.0), step))
    vectors = Loop(builder, n_vectors, [])
    skip = builder.add(skip, builder.mul(vectors.index, index(4 * LANES)))
    x = load(builder, data, VF, skip)
    store(builder, _quotient(builder, x, inverse, most), builder.add(target, skip), 0)
    vectors.close([])
    loop.close([])


def _emit_wide_quotients(builder: ir.IRBuilder, arguments: Any) -> None:
    data, target, n, block, steps = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    loop = Loop(builder, builder.udiv(n, block), [])
    skip = builder.mul(loop.index, builder.shl(block, index(2)))
    step = splat(builder, load(builder, steps, F64, builder.shl(loop.index, index(3))))
    vectors = Loop(builder, n_vectors, [])
    skip = builder.add(skip, builder.mul(vectors.index, index(4 * LANES)))
    x = builder.fpext(load(builder, data, VF, skip), VD)
    store(builder, builder.fdiv(x, step), builder.add(target, builder.shl(skip, index(1))), 0)
    vectors.close([])
    loop.close([])


def _emit_wide_products(builder: ir.IRBuilder, arguments: Any) -> None:
    data, target, n, block, steps = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    loop = Loop(builder, builder.udiv(n, block), [])
    skip = builder.mul(loop.index, builder.shl(block, index(2)))
    step = splat(builder, load(builder, steps, F64, builder.shl(loop.index, index(3))))
    vectors = Loop(builder, n_vectors, [])
    skip = builder.add(skip, builder.mul(vectors.index, index(4 * LANES)))
    value = builder.fmul(load(builder, data, VD, builder.shl(skip, index(1))), step)
    store(builder, builder.fptrunc(value, VF), builder.add(target, skip), 0)
    vectors.close([])
    loop.close([])


def _emit_products(builder: ir.IRBuilder, arguments: Any) -> None:
    data, n, block, steps = arguments
    n_vectors = builder.lshr(block, index(LANES.bit_length() - 1))
    loop = Loop(builder, builder.udiv(n, block), [])
    at = builder.add(data, builder.mul(loop.index, builder.shl(block, index(2))))
    step = splat(builder, load(builder, steps, F64, builder.shl(loop.index, index(3))))
    vectors = Loop(builder, n_vectors, [])
    place = builder.add(at, builder.mul(vectors.index, index(4 * LANES)))
    value = builder.fmul(builder.fpext(load(builder, place, VF, 0), VD), step)
    store(builder, builder.fptrunc(value, VF), place, 0)
    vectors.close([])
    loop.close([])


@intrinsic
def scale_down(
    typing_context: Any,
    data: Any,
    target: Any,
    n: Any,
    block: Any,
    emax: Any,
    most: Any,
    scales: Any,
) -> Any:
    """Divide blocks by powers of two, so that their largest numbers have the exponent emax.

    Numbers that are then above a pattern, that of the largest value of the format, become it, to
    which they would be rounded. Scales go to another address. Returns whether all blocks are zero
    or have a largest number well inside the range of binary32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_down(builder, arguments)

    integers = [types.int64] * 4
    return types.boolean(types.uint64, types.uint64, *integers, types.uint64), generate


@intrinsic
def scale_up(typing_context: Any, data: Any, n: Any, block: Any, scales: Any) -> Any:
    """Multiply blocks by their scales."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_up(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def largest_of(typing_context: Any, data: Any, n: Any, block: Any, tops: Any) -> Any:
    """Write the largest magnitude of each block, in binary64; NaN counts as larger than all."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_largest(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def divide(
    typing_context: Any, data: Any, target: Any, n: Any, block: Any, most: Any, steps: Any
) -> Any:
    """Divide blocks by their steps; above a pattern, that of the largest value, stands it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_quotients(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, *[types.int64] * 3, types.uint64), generate


@intrinsic
def multiply(typing_context: Any, data: Any, n: Any, block: Any, steps: Any) -> Any:
    """Multiply blocks by their steps, each product rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_products(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def divide_widely(
    typing_context: Any, data: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks divided by their steps, in binary64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide_quotients(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def multiply_widely(
    typing_context: Any, data: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks of binary64 numbers times their steps, each product rounded once to binary32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide_products(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate
