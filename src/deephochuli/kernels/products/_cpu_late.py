"""Tiles of aligned sums whose products are added before the running sum joins (CDNA3).

The products are formed as in `_cpu_steady`, under the same conditions. What follows has up to 38
bits: whole numbers in binary64, cut by rounding down.
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
    EXPONENT64,
    LANES,
    V32,
    V64,
    VD,
    VF,
    Loop,
    bits_of,
    choose,
    filled,
    index,
    load,
    store,
)
from deephochuli.kernels.products._cpu_blocks import BIAS
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS
from deephochuli.kernels.products._cpu_steady import LOWEST, Tile

FRACTION_BITS, LATE_BITS = 24, 31
# Bits that a joined sum has more than the products, and the running sum, before.
_MORE = LATE_BITS + 1 - FRACTION_BITS


def _power(builder: ir.IRBuilder, exponent: Any) -> Any:
    """2^e in binary64, of 32 bits."""
    field = builder.zext(builder.add(exponent, filled(V32, 1023)), V64)
    return builder.bitcast(builder.shl(field, filled(V64, 52)), VD)


def _floor(builder: ir.IRBuilder, value: Any) -> Any:
    kind = ir.FunctionType(VD, [VD])
    name = f"llvm.floor.v{LANES}f64"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])


def _products(tile: Tile, size: Any, patterns: list[Any]) -> list[Any]:
    """Integers: the products of a tile cut and added, in units of 2^(largest - F)."""
    builder = tile.builder
    least, zeros = filled(V32, (LOWEST + BIAS) << 23), [filled(V32, 0)] * len(patterns)
    whole = filled(V32, ((FRACTION_BITS + 254) << 23) & 0xFFFFFFFF)
    scales = [
        builder.bitcast(builder.sub(whole, choose(builder, ">", each, least)), VF)
        for each in patterns
    ]
    return tile.added(size, index(0), scales, zeros)


def _fields(builder: ir.IRBuilder, patterns: list[Any]) -> list[Any]:
    """Biased exponents; of blocks without a product far below all others."""
    return [builder.ashr(each, filled(V32, 23)) for each in patterns]


def _of_block(tile: Tile, size: Any, *, split: bool) -> tuple[list[Any], list[Any]]:
    """The sums of the products of a block and their exponents."""
    builder = tile.builder
    if not split:
        patterns = tile.largest(size)
        return _products(tile, size, patterns), _fields(builder, patterns)
    half, groups = builder.lshr(size, index(1)), []
    for first in range(2):
        group = Tile(builder, tile.at, tile.params, first=first, stride=2)
        patterns = group.largest(half)
        groups.append((_products(group, half, patterns), _fields(builder, patterns)))
    sums, tops = [], []
    for x, y, e, f in zip(groups[0][0], groups[1][0], groups[0][1], groups[1][1], strict=True):
        top = choose(builder, ">", e, f)
        moved = [
            builder.ashr(s, choose(builder, "<", builder.sub(top, own), filled(V32, 31)))
            for s, own in ((x, e), (y, f))
        ]
        tops.append(top)
        sums.append(builder.add(*moved))
    return sums, tops


def _joined(builder: ir.IRBuilder, products: Any, top: Any, total: Any, *, split: bool) -> Any:
    """The running sum joined to the products, cut, rounded to binary32."""
    shown = builder.lshr(builder.shl(bits_of(builder, total), filled(V32, 1)), filled(V32, 24))
    of_total = choose(builder, ">", shown, filled(V32, 1))
    largest = choose(builder, ">", top, of_total)
    by = builder.add(builder.sub(top, largest), filled(V32, _MORE))
    terms = builder.fmul(builder.sitofp(products, VD), _power(builder, by))
    to_units = builder.sub(filled(V32, FRACTION_BITS + BIAS), largest)
    rest = builder.fmul(builder.fpext(total, VD), _power(builder, to_units))
    rest = builder.fmul(_floor(builder, rest), filled(VD, 2.0**_MORE))
    if split:
        limit = builder.sub(largest, filled(V32, FRACTION_BITS + 1))
        gone = builder.icmp_signed("<", of_total, limit)
        rest = builder.select(gone, filled(VD, 0.0), rest)
    value = builder.fadd(_floor(builder, terms), rest)
    power = builder.bitcast(builder.and_(bits_of(builder, value), filled(V64, EXPONENT64)), VD)
    unit = builder.fmul(power, filled(VD, 2.0**-LATE_BITS))
    unit = builder.select(builder.fcmp_ordered(">", unit, filled(VD, 1.0)), unit, filled(VD, 1.0))
    inverse = builder.bitcast(builder.sub(filled(V64, 2046 << 52), bits_of(builder, unit)), VD)
    value = builder.fmul(_floor(builder, builder.fmul(value, inverse)), unit)
    back = builder.sub(largest, filled(V32, BIAS + LATE_BITS + 1))
    value = builder.fptrunc(builder.fmul(value, _power(builder, back)), VF)
    return builder.fadd(value, filled(VF, 0.0))


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
    sums, tops = _of_block(Tile(builder, at, params), size, split=split)
    new = [
        _joined(builder, *each, split=split) for each in zip(sums, tops, loop.state, strict=True)
    ]
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
