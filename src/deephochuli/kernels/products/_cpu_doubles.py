"""Tiles of exact sums that binary64 holds: in one number where that is enough, else in two.

All products of a block are multiples of the last places of the smallest operands. Where the sum of
their sizes is at most 2^53 of those, binary64 adds them without error, and only joining them to the
running sum can round: that decides the result wrongly only if it gives a midpoint of binary32.

Otherwise a sum begins with a number so large that every partial sum has the same last place (Rump,
Ogita, Oishi 2008, "extraction"). What an addition really added is then a difference without error,
and so is the rest of the product; the rests are added up in a second number. The caller has seen
to it that this one holds them all.
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
    F64,
    LANES,
    V64,
    VD,
    VF,
    Loop,
    any_lane,
    bits_of,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.products._cpu_chains import COLUMNS, H_SLOTS, PANELS, ROWS, Chain

# Parameters behind those of a chain.
D_LARGE, D_SPREAD, D_LOWEST, D_SLOTS = range(H_SLOTS, H_SLOTS + 4)
# The bits of a binary64 number that binary32 has no place for, and what a midpoint has there.
_REST, _HALF = (1 << 29) - 1, 1 << 28


class _Sums(Chain):
    """Emits the code of exact sums."""

    def __init__(self, builder: ir.IRBuilder, arguments: Any) -> None:
        *places, self.n_blocks, self.size, params = arguments
        super().__init__(builder, (*places, self.n_blocks, params), fused=True)

    def wide(self, k: Any, panels: list[Any]) -> list[tuple[Any, Any]]:
        """The operands of some vectors of each row, in binary64."""
        builder = self.builder
        a_row, b_row = builder.mul(k, index(4 * ROWS)), builder.mul(k, index(4 * COLUMNS))
        places = [builder.add(b_row, builder.mul(each, index(4 * LANES))) for each in panels]
        ys = [builder.fpext(load(builder, self.b_at, VF, at), VD) for at in places]
        pairs = []
        for row in range(ROWS):
            x = load(builder, self.a_at, F32, builder.add(a_row, index(4 * row)))
            wide = splat(builder, builder.fpext(x, F64))
            pairs += [(wide, y) for y in ys]
        return pairs

    def place(self, row: int, panel: Any) -> Any:
        """Where a vector of sums lies."""
        builder = self.builder
        of_panel = builder.mul(panel, index(4 * LANES))
        return builder.add(builder.add(self.c_at, index(4 * COLUMNS * row)), of_panel)


def _all_of_a_block(sums: _Sums, number: Any) -> list[Any]:
    """The products of a block added in binary64; -0 is what they are added to."""
    builder = sums.builder
    loop = Loop(builder, sums.size, [filled(VD, -0.0)] * (ROWS * PANELS))
    k = builder.add(builder.mul(number, sums.size), loop.index)
    pairs = sums.wide(k, [index(panel) for panel in range(PANELS)])
    return loop.close([fma(builder, *xy, z) for xy, z in zip(pairs, loop.state, strict=True)])


def _is_midpoint(builder: ir.IRBuilder, value: Any) -> Any:
    """Where a binary64 number lies between two of binary32."""
    rest = builder.and_(bits_of(builder, value), filled(V64, _REST))
    return builder.icmp_unsigned("==", rest, filled(V64, _HALF))


def emit_single(builder: ir.IRBuilder, arguments: Any) -> None:
    """Blocks whose products binary64 adds without error, joined in binary32."""
    sums = _Sums(builder, arguments)
    blocks = Loop(builder, sums.n_blocks, [])
    products = _all_of_a_block(sums, blocks.index)
    results, ties = [], None
    for total, of_block in zip(sums.tile(VF, 4), products, strict=True):
        joined = builder.fadd(builder.fpext(total, VD), of_block)
        tie = _is_midpoint(builder, joined)
        ties = tie if ties is None else builder.or_(ties, tie)
        results.append(builder.fptrunc(joined, VF))
    with builder.if_else(any_lane(builder, ties), likely=False) as (rarely, mostly):
        with rarely:
            totals = [builder.fpext(each, VD) for each in sums.tile(VF, 4)]
            odd = [sums.odd_sum(x, y) for x, y in zip(totals, products, strict=True)]
            sums.keep([builder.fptrunc(each, VF) for each in odd], 4)
        with mostly:
            sums.keep(results, 4)
    blocks.close([])


def _apart(sums: _Sums, number: Any, panel: Any, large: Any, starts: list[Any]) -> list[Any]:
    """The large and the small parts of running sums to which the products of a block are added."""
    builder = sums.builder
    tops = [builder.fadd(large, each) for each in starts]
    rests = [
        builder.fsub(each, builder.fsub(top, large)) for each, top in zip(starts, tops, strict=True)
    ]
    loop = Loop(builder, sums.size, [*tops, *rests])
    k = builder.add(builder.mul(number, sums.size), loop.index)
    tops, rests = [], []
    for i, (x, y) in enumerate(sums.wide(k, [panel])):
        top = fma(builder, x, y, loop.state[i])
        added = builder.fsub(top, loop.state[i])
        rest = fma(builder, x, y, builder.fneg(added))
        tops.append(top)
        rests.append(builder.fadd(loop.state[ROWS + i], rest))
    return loop.close([*tops, *rests])


def emit_double(builder: ir.IRBuilder, arguments: Any) -> None:
    """Blocks whose sums two binary64 numbers hold, in any format inside binary32."""
    sums = _Sums(builder, arguments)
    panels = Loop(builder, index(PANELS), [])
    blocks = Loop(builder, sums.n_blocks, [])
    places = [sums.place(row, panels.index) for row in range(ROWS)]
    starts = [builder.fpext(load(builder, at, VF, 0), VD) for at in places]
    large = sums.parameter(D_LARGE, F64)
    parts = _apart(sums, blocks.index, panels.index, large, starts)
    for at, top, rest in zip(places, parts[:ROWS], parts[ROWS:], strict=True):
        # Not top - large: a sum of nothing but -0 is -0.
        moved = builder.fneg(builder.fsub(large, top))
        value = sums.nearest(sums.odd_sum(rest, moved))
        store(builder, builder.fptrunc(value, VF), at, 0)
    blocks.close([])
    panels.close([])


def _intrinsic(emit: Any) -> Any:
    @intrinsic
    def sums(
        typing_context: Any, a: Any, b: Any, c: Any, n_blocks: Any, size: Any, params: Any
    ) -> Any:
        """Join n_blocks >= 1 blocks of some products each to a tile; all others are addresses."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit(builder, arguments)
            return context.get_dummy_value()

        kinds = [*[types.uint64] * 3, types.int64, types.int64, types.uint64]
        return types.void(*kinds), generate

    return sums


single, double = _intrinsic(emit_single), _intrinsic(emit_double)
