"""The largest magnitudes of blocks; and dividing by scales, for the decisions that are in doubt."""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import (
    F64,
    LANES,
    V32,
    VD,
    VF,
    Loop,
    either,
    filled,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._cpu_blocks import POSITIVE, extreme, reduced, vectors_of


def _largest(builder: ir.IRBuilder, places: list[Any], n_vectors: Any) -> list[Any]:
    """The largest magnitudes of blocks at some places, lane by lane."""

    def sizes(skip: Any) -> list[Any]:
        vectors = (load(builder, place, V32, skip) for place in places)
        return [builder.and_(vector, filled(V32, POSITIVE)) for vector in vectors]

    first, entry = sizes(index(0)), builder.block
    with builder.if_then(builder.icmp_unsigned(">", n_vectors, index(1))):
        loop = Loop(builder, builder.sub(n_vectors, index(1)), first)
        skip = builder.mul(builder.add(loop.index, index(1)), index(4 * LANES))
        pairs = zip(sizes(skip), loop.state, strict=True)
        last = loop.close([extreme(builder, ">", size, most) for size, most in pairs])
        more = builder.block
    return either(builder, (first, entry), (last, more))


def _merged(builder: ir.IRBuilder, x: Any, y: Any, chunk: int) -> Any:
    """The largest magnitudes of the blocks of x and of those of y, in half as many lanes each.

    A block has two chunks of lanes before and one after. Small chunks stay inside their four lanes,
    for which there are the faster instructions.
    """
    stays = [lane + LANES * (lane // chunk % 2) for lane in range(LANES)]
    comes = [lane ^ chunk for lane in stays]
    halves = (builder.shuffle_vector(x, y, ir.Constant(V32, order)) for order in (stays, comes))
    return extreme(builder, ">", *halves)


def _gathered(builder: ir.IRBuilder, vectors: list[Any]) -> Any:
    """The largest lanes of sixteen vectors, in order: each becomes one lane."""
    found = dict(enumerate(vectors))
    # Which two are merged first decides in which order they come out.
    for chunk, apart in ((8, 8), (4, 4), (2, 2), (1, 1)):
        found = {
            i: _merged(builder, x, found[i + apart], chunk)
            for i, x in found.items()
            if not i & apart
        }
    return found[0]


def _emit_largest(builder: ir.IRBuilder, arguments: Any) -> None:
    source, n, block, tops = arguments
    n_vectors, size = vectors_of(builder, block), builder.shl(block, index(2))
    n_blocks = builder.udiv(n, block)
    together = builder.and_(n_blocks, index(-LANES))
    with builder.if_then(builder.icmp_unsigned("!=", together, index(0))):
        loop = Loop(builder, vectors_of(builder, n_blocks), [])
        first = builder.mul(loop.index, index(LANES))
        at = builder.add(source, builder.mul(first, size))
        places = [builder.add(at, builder.mul(size, index(i))) for i in range(LANES)]
        largest = _gathered(builder, _largest(builder, places, n_vectors))
        store(builder, largest, builder.add(tops, builder.shl(first, index(2))), 0)
        loop.close([])
    rest = builder.sub(n_blocks, together)
    with builder.if_then(builder.icmp_unsigned("!=", rest, index(0))):
        loop = Loop(builder, rest, [])
        number = builder.add(together, loop.index)
        at = builder.add(source, builder.mul(number, size))
        largest = reduced(builder, "umax", *_largest(builder, [at], n_vectors))
        store(builder, largest, builder.add(tops, builder.shl(number, index(2))), 0)
        loop.close([])


def _emit_wide(builder: ir.IRBuilder, arguments: Any, *, divides: bool) -> None:
    source, target, n, block, steps = arguments
    per_block = builder.cttz(block, ir.Constant(ir.IntType(1), 1))
    loop = Loop(builder, vectors_of(builder, n), [])
    first = builder.mul(loop.index, index(LANES))
    at, wide_at = builder.shl(first, index(2)), builder.shl(first, index(3))
    number = builder.lshr(first, per_block)
    step = splat(builder, load(builder, steps, F64, builder.shl(number, index(3))))
    if divides:
        quotient = builder.fdiv(builder.fpext(load(builder, source, VF, at), VD), step)
        store(builder, quotient, builder.add(target, wide_at), 0)
    else:
        product = builder.fmul(load(builder, source, VD, wide_at), step)
        store(builder, builder.fptrunc(product, VF), builder.add(target, at), 0)
    loop.close([])


@intrinsic
def largest_of(typing_context: Any, source: Any, n: Any, block: Any, tops: Any) -> Any:
    """Write the pattern of the largest magnitude of each block; NaN is larger than all others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_largest(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def divide_widely(
    typing_context: Any, source: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks divided by their steps, in binary64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide(builder, arguments, divides=True)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate


@intrinsic
def multiply_widely(
    typing_context: Any, source: Any, target: Any, n: Any, block: Any, steps: Any
) -> Any:
    """Write blocks of binary64 numbers times their steps, each product rounded once to binary32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_wide(builder, arguments, divides=False)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.int64, types.uint64), generate
