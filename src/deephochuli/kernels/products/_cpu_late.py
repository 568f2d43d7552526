"""Tiles of aligned sums whose products are added before the running sum joins (CDNA3).

The products are formed as in `_cpu_steady`, under the same conditions. What follows is a sum of 32
bits. Where the exponent of the running sum is more than 5 above that of the largest product, the
last bits of the products do not fit: they are left away, and looked at where they could decide the
rounding.
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
    EXPONENT32,
    LANES,
    V32,
    VF,
    Loop,
    any_lane,
    bits_of,
    choose,
    either,
    filled,
    index,
    load,
    store,
)
from deephochuli.kernels.products._cpu_blocks import BIAS
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS
from deephochuli.kernels.products._cpu_steady import Tile, one_by_one

FRACTION_BITS, LATE_BITS = 24, 31
# Up to this exponent of products the smallest running sum is no zero of binary32 in their units.
HIGHEST = 40
# What sums of products, in units of the last bit that is kept, stay below: half of such a sum
# leaves at least 2^25 of a running sum.
MOST = 2**30 - 2**26
# Sums have this many bits below the largest exponent, more than products by `HEADROOM`; a unit in
# their last place has `_LEFT` bits of the joined sum below it.
_BITS = 29
HEADROOM, _LEFT = _BITS - FRACTION_BITS, LATE_BITS + 1 - _BITS


def _floor(builder: ir.IRBuilder, value: Any) -> Any:
    kind = ir.FunctionType(VF, [VF])
    name = f"llvm.floor.v{LANES}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])


def _exponents(n: int) -> Any:
    """A number of exponents, as a pattern."""
    return filled(V32, (n << 23) & 0xFFFFFFFF)


def _shift(builder: ir.IRBuilder, pattern: Any) -> Any:
    """How far to shift a word by a difference of exponents: at most until its sign is left."""
    shift = builder.lshr(pattern, filled(V32, 23))
    return choose(builder, "<", shift, filled(V32, 31))


def _products(tile: Tile, size: Any) -> tuple[list[Any], list[Any]]:
    """The products of a tile cut and added, in units of 2^(largest - F), and what was largest.

    Patterns of exponents of products are larger by `HEADROOM` here: up to those a running sum fits.
    """
    builder, tops = tile.builder, tile.largest(size)
    whole = _exponents(FRACTION_BITS + HEADROOM + 2 * BIAS)
    scales = [builder.bitcast(builder.sub(whole, each), VF) for each in tops]
    return tile.added(size, index(0), scales, [filled(V32, 0)] * len(tops)), tops


def _of_block(tile: Tile, size: Any, *, split: bool) -> tuple[list[Any], list[Any]]:
    """The sums of the products of a block and the patterns of their exponents."""
    builder = tile.builder
    if not split:
        return _products(tile, size)
    half, sums, tops = builder.lshr(size, index(1)), [], []
    even, odd = (
        _products(Tile(builder, tile.at, tile.params, first=first, stride=2), half)
        for first in range(2)
    )
    for x, e, y, f in zip(*even, *odd, strict=True):
        top = choose(builder, ">", e, f)
        moved = [
            builder.ashr(each, _shift(builder, builder.sub(top, own)))
            for each, own in ((x, e), (y, f))
        ]
        tops.append(top)
        sums.append(builder.add(*moved))
    return sums, tops


class _Joined:
    """Emits the code that joins the running sums of one vector to its products, in 32 bits."""

    def __init__(
        self, builder: ir.IRBuilder, products: Any, top: Any, total: Any, *, split: bool
    ) -> None:
        self._builder, self._products = builder, products
        power = builder.and_(bits_of(builder, total), filled(V32, EXPONENT32))
        last = choose(builder, ">", top, power)
        scale = builder.bitcast(builder.sub(_exponents(_BITS + 2 * BIAS), last), VF)
        rest = builder.fptosi(_floor(builder, builder.fmul(total, scale)), V32)
        if split:
            limit = builder.sub(top, _exponents(FRACTION_BITS + 1 + HEADROOM))
            gone = builder.icmp_signed("<", power, limit)
            rest = builder.select(gone, filled(V32, 0), rest)
        self._shift = _shift(builder, builder.sub(last, top))
        self._kept = builder.ashr(products, self._shift)
        self._value = builder.add(self._kept, rest)
        self._near = builder.sitofp(self._value, VF)
        self._unit = builder.bitcast(builder.sub(last, _exponents(_BITS)), VF)

    def is_open(self) -> Any:
        """Where bits were left away that could decide the rounding."""
        builder = self._builder
        above = builder.sitofp(builder.or_(self._value, filled(V32, 1)), VF)
        back = builder.shl(self._kept, self._shift)
        left = builder.icmp_unsigned("!=", back, self._products)
        return builder.and_(left, builder.fcmp_ordered("!=", self._near, above))

    def quick(self) -> Any:
        """The sum rounded to binary32, where that is not open."""
        return self._builder.fmul(self._near, self._unit)

    def exact(self) -> Any:
        """The sum rounded to binary32.

        Of the bits that were left away those count that the joined sum keeps, 31 below its own
        leading bit; a sum that rounding brings to the next power of two is no tie.
        """
        builder = self._builder
        below = builder.lshr(builder.shl(self._products, filled(V32, _LEFT)), self._shift)
        below = builder.and_(below, filled(V32, (1 << _LEFT) - 1))
        pattern = builder.shl(bits_of(builder, self._near), filled(V32, 1))
        exponent = builder.sub(builder.lshr(pattern, filled(V32, 24)), filled(V32, BIAS))
        cut = builder.sub(exponent, filled(V32, LATE_BITS - _LEFT))
        cut = choose(builder, ">", cut, filled(V32, 0))
        some = builder.icmp_unsigned("!=", builder.lshr(below, cut), filled(V32, 0))
        value = builder.or_(self._value, builder.zext(some, V32))
        return builder.fmul(builder.sitofp(value, VF), self._unit)


def _joined(
    tile: Tile, sums: list[Any], tops: list[Any], totals: list[Any], *, split: bool
) -> list[Any]:
    """The running sums of a tile joined to its products."""
    builder, quick, is_open = tile.builder, [], None
    for each in zip(sums, tops, totals, strict=True):
        joined = _Joined(builder, *each, split=split)
        quick.append(joined.quick())
        own = joined.is_open()
        is_open = own if is_open is None else builder.or_(is_open, own)
    before = builder.block
    with builder.if_then(any_lane(builder, is_open), likely=False):
        exact = one_by_one(
            tile, [sums, tops, totals], lambda *xs: _Joined(builder, *xs, split=split).exact()
        )
        rare = builder.block
    return either(builder, (quick, before), (exact, rare))


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
    tile = Tile(builder, at, params)
    sums, tops = _of_block(tile, size, split=split)
    new = _joined(tile, sums, tops, loop.state, split=split)
    for i, value in enumerate(loop.close(new)):
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
