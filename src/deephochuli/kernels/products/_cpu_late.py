"""Tiles of aligned sums whose products are added before the running sum joins (CDNA3).

The products are formed as in `_cpu_steady`, under the same conditions; their sum is a whole number
P of units 2^(E - F), below 2^30. The running sum, rounded down to units, is taken apart: into c, a
number of binary32 and a multiple of 64 units, and a whole number that is added to P in 32 bits. So
no case has to be told from another, however large the running sum.

The sum c + P is cut into s, a number of binary32 that is not above it, and what is left over: so
the first bits of the rest say whether s is the nearest. The unit keeps 31 bits below the leading
one of a sum and rounds it down to them before it rounds to 24: of a rest between half a last place
and a whole one these are the first 8 bits; of a smaller rest no bit matters.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_directed import added_down, fma_down
from deephochuli.kernels._cpu_emit import (
    EXPONENT32,
    LANES,
    V32,
    VF,
    Loop,
    bits_of,
    choose,
    filled,
    fma,
    index,
    load,
    store,
)
from deephochuli.kernels.products._cpu_blocks import BIAS
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS
from deephochuli.kernels.products._cpu_steady import PLACE, V16, Tile

FRACTION_BITS, LATE_BITS = 24, 31
# Up to this exponent of products the smallest running sum is no zero of binary32 in their units.
HIGHEST = 40
# What sums of products, in units, stay below: beside a c of 2^30 units at least 2^26 are left, of
# whose last places all rests are less than 2^8 units.
MOST = 2**30 - 2**26
# P has these bits that are added last, and at most 24 others.
_LOW = 0x3F
# Units that are added to running sums and taken away again, to take them apart: binary32 has no
# place for less than 64 beside them, and a rest is at most 2^30.
_APART = 1.5 * 2.0**30
# The first 8 bits of a number of binary32.
_FIRST = 0xFFFF0000


def _scales(builder: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """One over the units of products, from the pairs of their largest exponents."""
    most, scales = (FRACTION_BITS + 2 * BIAS) << PLACE, []
    # The upper exponent of a pair may have a carry, one, below it.
    whole = builder.bitcast(filled(V32, ((most + 1) << 16) | most), V16)
    for row in rows:
        pairs = builder.bitcast(builder.sub(whole, row), V32)
        lower = builder.shl(pairs, filled(V32, 16))
        upper = builder.and_(pairs, filled(V32, EXPONENT32))
        scales += [builder.bitcast(each, VF) for each in (lower, upper)]
    return scales


class _Total:
    """Emits the code that joins one vector of running sums to the products of a block."""

    def __init__(self, builder: ir.IRBuilder, value: Any, scale: Any) -> None:
        """Take running sums apart; scale: one over the units of the products."""
        self._builder = builder
        unit = builder.sub(filled(V32, 2 * BIAS << 23), bits_of(builder, scale))
        self._unit, apart = builder.bitcast(unit, VF), filled(VF, _APART)
        above = fma_down(builder, self._unit, apart, value)
        self._minus_c = fma_down(builder, self._unit, apart, builder.fneg(above))
        rest = added_down(builder, value, self._minus_c)
        self.whole = builder.fptosi(builder.fmul(rest, scale), V32)

    def joined(self, value: Any) -> Any:
        """The new running sums; value: P and the whole numbers of units beside c."""
        builder, unit, minus_c = self._builder, self._unit, self._minus_c
        low = builder.and_(value, filled(V32, _LOW))
        high = builder.and_(value, filled(V32, ~_LOW & 0xFFFFFFFF))
        low, high = builder.sitofp(low, VF), builder.sitofp(high, VF)
        below = fma_down(builder, high, unit, builder.fneg(minus_c))
        rest = fma(builder, high, unit, builder.fneg(builder.fadd(below, minus_c)))
        rest = fma_down(builder, low, unit, rest)
        first = builder.and_(bits_of(builder, rest), filled(V32, _FIRST))
        return builder.fadd(below, builder.bitcast(first, VF))


def _joined(tile: Tile, size: Any, totals: list[Any]) -> list[Any]:
    """The running sums of a tile joined to the products of a block."""
    scales = _scales(tile.builder, tile.pairs(size))
    joins = [_Total(tile.builder, *each) for each in zip(totals, scales, strict=True)]
    values = tile.added(size, index(0), scales, [each.whole for each in joins])
    return [each.joined(value) for each, value in zip(joins, values, strict=True)]


def _joined_apart(tile: Tile, size: Any, totals: list[Any]) -> list[Any]:
    """The same where even and odd products have their own units, and are then aligned."""
    builder, half, rows, parts = tile.builder, tile.builder.lshr(size, index(1)), [], []
    for first in range(2):
        part = Tile(builder, tile.at, tile.params, first=first, stride=2)
        rows.append(part.pairs(half))
        scales = _scales(builder, rows[-1])
        parts.append((scales, part.added(half, index(0), scales, [filled(V32, 0)] * len(scales))))
    common = _scales(builder, [choose(builder, ">", *each) for each in zip(*rows, strict=True)])
    new = []
    for i, (total, scale) in enumerate(zip(totals, common, strict=True)):
        join = _Total(builder, _counted(builder, total, scale), scale)
        value = join.whole
        for scales, values in parts:
            value = builder.add(value, _aligned(builder, values[i], scales[i], scale))
        new.append(join.joined(value))
    return new


def _counted(builder: ir.IRBuilder, total: Any, scale: Any) -> Any:
    """Running sums; zeros for those that are less than half of a unit."""
    size = builder.and_(bits_of(builder, builder.fmul(total, scale)), filled(V32, EXPONENT32))
    counts = builder.icmp_unsigned(">=", size, filled(V32, (BIAS - 1) << 23))
    return builder.select(counts, total, filled(VF, 0.0))


def _aligned(builder: ir.IRBuilder, value: Any, own: Any, common: Any) -> Any:
    """Whole numbers of units in larger ones, rounded down."""
    shift = builder.sub(bits_of(builder, own), bits_of(builder, common))
    shift = builder.lshr(shift, filled(V32, 23))
    return builder.ashr(value, choose(builder, "<", shift, filled(V32, 31)))


def emit(builder: ir.IRBuilder, arguments: Any, *, split: bool, known: int) -> Any:
    """All blocks."""
    *places, n_blocks, size, params = arguments
    size = index(known) if known else size
    c_at, n = places[4], ROWS * PANELS
    loop = Loop(builder, n_blocks, [load(builder, c_at, VF, 4 * LANES * i) for i in range(n)])
    skip = builder.mul(loop.index, size)
    steps = {"a": 4 * ROWS, "ea": 4 * ROWS, "b": 4 * COLUMNS, "eb": 2 * COLUMNS}
    at = {
        name: builder.add(place, builder.mul(skip, index(step)))
        for (name, step), place in zip(steps.items(), places, strict=False)
    }
    join = _joined_apart if split else _joined
    for i, value in enumerate(loop.close(join(Tile(builder, at, params), size, loop.state))):
        store(builder, value, c_at, 4 * LANES * i)
    return n_blocks


def _intrinsic(*, split: bool = False, known: int = 0) -> Any:
    """Blocks whose size the compiler knows, or is told when they are formed (0)."""

    @intrinsic
    def blocks(
        typing_context: Any,
        a: Any,
        ea: Any,
        b: Any,
        eb: Any,
        c: Any,
        n_blocks: Any,
        size: Any,
        params: Any,
    ) -> Any:
        """Join n_blocks >= 1 blocks to a tile, as in `_cpu_steady`."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit(builder, arguments, split=split, known=known)

        kinds = [*[types.uint64] * 5, types.int64, types.int64, types.uint64]
        return types.int64(*kinds), generate

    return blocks


late, late4, late_split = _intrinsic(), _intrinsic(known=4), _intrinsic(split=True)
