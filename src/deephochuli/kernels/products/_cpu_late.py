"""Tiles of aligned sums whose products are added before the running sum joins (CDNA3).

The products are formed as in `_cpu_steady`, under the same conditions; their sum is a whole number
P of units 2^(E - F), below 2^30. A running sum of less than 2^30 units is rounded down to a whole
number, too, added, and the sum rounded: 32 bits hold it, and all the bits that such sums keep.

A larger one is a multiple of 128 units, and stays a binary32 number c. The sum c + P is cut into s,
a number of binary32 that is not above it, and what is left over, less than one last place of s: so
its leading bits say whether s is the nearest. The unit keeps 31 bits below the leading one of a sum
and rounds it down to them before it rounds to 24: of a rest of half a last place or more these are
the first 8 bits, and of a smaller one no bit matters.
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
    LANES,
    V32,
    VF,
    Loop,
    bits_of,
    choose,
    filled,
    index,
    load,
    store,
)
from deephochuli.kernels._cpu_rounding import added_down, floor, fma_down
from deephochuli.kernels.products._cpu_blocks import BIAS
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS
from deephochuli.kernels.products._cpu_steady import Tile

FRACTION_BITS, LATE_BITS = 24, 31
# Up to this exponent of products the smallest running sum is no zero of binary32 in their units.
HIGHEST = 40
# What sums of products, in units, stay below: beside a running sum of 2^30 units at least 2^26 are
# left, of which binary32 holds all bits but three.
MOST = 2**30 - 2**26
# Bits of P that are added after the others: those others are 24.
_LOW = 6


def _power(exponent: int) -> int:
    """The pattern of a power of two."""
    return (exponent + BIAS) << 23


def _shift(builder: ir.IRBuilder, pattern: Any) -> Any:
    """How far to shift a word by a difference of exponents: at most until its sign is left."""
    shift = builder.lshr(pattern, filled(V32, 23))
    return choose(builder, "<", shift, filled(V32, 31))


class _Total:
    """Emits the code that joins one vector of running sums to the products of a block."""

    def __init__(self, builder: ir.IRBuilder, value: Any, scale: Any, *, split: bool) -> None:
        """Look at running sums beside the units of their products; `scale` is one over those."""
        self._builder, self._value, self._scale = builder, value, scale
        in_units = builder.fmul(value, scale)
        size = builder.and_(bits_of(builder, in_units), filled(V32, EXPONENT32))
        self._fits = builder.icmp_unsigned("<", size, filled(V32, _power(30)))
        counts = self._fits
        if split:  # Where even halves of a unit are above it, a running sum is left away.
            least = filled(V32, _power(-1))
            counts = builder.and_(counts, builder.icmp_unsigned(">=", size, least))
        self.whole = floor(builder, in_units, counts)

    def joined(self, value: Any) -> Any:
        """The new running sums; value: P, and the whole of such running sums as fit."""
        builder = self._builder
        low = builder.and_(value, filled(V32, (1 << _LOW) - 1))
        high = builder.select(self._fits, value, builder.sub(value, low))
        unit = builder.bitcast(
            builder.sub(filled(V32, 254 << 23), bits_of(builder, self._scale)), VF
        )
        near = builder.fmul(builder.sitofp(high, VF), unit)
        return builder.select(self._fits, near, self._beside(near, builder.sitofp(low, VF), unit))

    def _beside(self, high: Any, low: Any, unit: Any) -> Any:
        """Running sums that do not fit and products, rounded."""
        builder, total = self._builder, self._value
        below = added_down(builder, total, high)
        rest = builder.fsub(high, builder.fsub(below, total))
        rest = fma_down(builder, low, unit, rest)
        kept = builder.and_(bits_of(builder, rest), filled(V32, 0xFFFF0000))
        return builder.fadd(below, builder.bitcast(kept, VF))


def _scales(builder: ir.IRBuilder, tops: list[Any]) -> list[Any]:
    """One over the units of products, from the patterns of their largest exponents."""
    whole = filled(V32, _power(FRACTION_BITS + BIAS))
    return [builder.bitcast(builder.sub(whole, each), VF) for each in tops]


def _joined(tile: Tile, size: Any, totals: list[Any]) -> list[Any]:
    """The running sums of a tile joined to the products of a block."""
    builder = tile.builder
    scales = _scales(builder, tile.largest(size))
    joins = [
        _Total(builder, total, scale, split=False)
        for total, scale in zip(totals, scales, strict=True)
    ]
    values = tile.added(size, index(0), scales, [each.whole for each in joins])
    return [each.joined(value) for each, value in zip(joins, values, strict=True)]


def _joined_apart(tile: Tile, size: Any, totals: list[Any]) -> list[Any]:
    """The same where even and odd products have their own units, and are then aligned."""
    builder, half, parts = tile.builder, tile.builder.lshr(size, index(1)), []
    for first in range(2):
        part = Tile(builder, tile.at, tile.params, first=first, stride=2)
        tops = part.largest(half)
        zeros = [filled(V32, 0)] * len(tops)
        parts.append((tops, part.added(half, index(0), _scales(builder, tops), zeros)))
    (tops, values), (others, more) = parts
    new = []
    for e, f, x, y, total in zip(tops, others, values, more, totals, strict=True):
        top = choose(builder, ">", e, f)
        x, y = (
            builder.ashr(each, _shift(builder, builder.sub(top, own)))
            for each, own in ((x, e), (y, f))
        )
        join = _Total(builder, total, *_scales(builder, [top]), split=True)
        new.append(join.joined(builder.add(join.whole, builder.add(x, y))))
    return new


def emit(builder: ir.IRBuilder, arguments: Any, *, split: bool) -> Any:
    """All blocks."""
    *places, n_blocks, size, params = arguments
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


def _intrinsic(*, split: bool) -> Any:
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
            return emit(builder, arguments, split=split)

        kinds = [*[types.uint64] * 5, types.int64, types.int64, types.uint64]
        return types.int64(*kinds), generate

    return blocks


late, late_split = _intrinsic(split=False), _intrinsic(split=True)
