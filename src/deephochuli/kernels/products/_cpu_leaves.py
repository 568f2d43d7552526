"""Tiles of small trees in binary32, each joined to the running sum (CDNA2).

A tree adds neighbours level by level; 2, 4 or 8 products are its leaves, all in registers. K is a
multiple of that: behind its end lie products that are -0, to which any number may be added and
stay what it is.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import F32, VF, Loop, flushed, index
from deephochuli.kernels.products._cpu_chains import PANELS, ROWS, Chain

# Leaves of the trees that have a function.
SIZES = (2, 4, 8)


def _tree(builder: ir.IRBuilder, values: list[Any], settle: Any) -> Any:
    """Neighbours added level by level."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [settle(builder.fadd(x, y)) for x, y in pairs]
    return values[0]


def _settle(builder: ir.IRBuilder, *, flush: bool) -> Any:
    """What happens to every product and sum."""

    def settle(value: Any) -> Any:
        return flushed(builder, value) if flush else value

    return settle


def _trees(chain: Chain, first: Any, leaves: int, settle: Any) -> list[Any]:
    """The trees of a tile over some products."""
    builder, trees = chain.builder, []
    operands = [chain.operands(builder.add(first, index(i)), F32, 4) for i in range(leaves)]
    for i in range(ROWS * PANELS):
        row, panel = divmod(i, PANELS)
        products = [settle(builder.fmul(xs[row], ys[panel])) for xs, ys in operands]
        trees.append(_tree(builder, products, settle))
    return trees


def emit(builder: ir.IRBuilder, arguments: Any, *, leaves: int, flush: bool) -> None:
    """One tree after the other joined to each sum; all numbers without subnormal ones, or not."""
    chain, settle = Chain(builder, arguments, fused=False), _settle(builder, flush=flush)
    n_trees = builder.udiv(chain.n, index(leaves))
    loop = Loop(builder, n_trees, chain.tile(VF, 4))
    trees = _trees(chain, builder.mul(loop.index, index(leaves)), leaves, settle)
    new = [settle(builder.fadd(*each)) for each in zip(loop.state, trees, strict=True)]
    chain.keep(loop.close(new), 4)


def emit_alone(builder: ir.IRBuilder, arguments: Any, *, leaves: int, flush: bool) -> None:
    """One tree of each sum of a tile in its place."""
    chain = Chain(builder, arguments, fused=False)
    chain.keep(_trees(chain, index(0), leaves, _settle(builder, flush=flush)), 4)


def _intrinsic(leaves: int, *, flush: bool, generator: Any = emit) -> Any:
    @intrinsic
    def tile(typing_context: Any, a: Any, b: Any, c: Any, n: Any, params: Any) -> Any:
        """Join n >= 1 products to each sum of a tile; all but n are addresses."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            generator(builder, arguments, leaves=leaves, flush=flush)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 3, types.int64, types.uint64), generate

    return tile


leaves2, leaves4, leaves8 = (_intrinsic(n, flush=False) for n in SIZES)
flushing_leaves2, flushing_leaves4, flushing_leaves8 = (_intrinsic(n, flush=True) for n in SIZES)
alone8, flushing_alone8 = (
    _intrinsic(8, flush=flush, generator=emit_alone) for flush in (False, True)
)
