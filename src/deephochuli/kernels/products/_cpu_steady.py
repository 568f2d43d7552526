"""Tiles of aligned sums whose exponents are known to stay where binary32 computes exactly.

The same sums as in `_cpu_blocks`, of operands that were looked at beforehand: no exponent is
checked, running sums never leave the registers, and a block without products costs no more than
another. Results that are cut are formed by the processor's conversion, rounding toward zero, which
the caller sets. All that can still go wrong is a sum that leaves 32 bits: it is noticed in the end,
and then nothing has been done.

Exponents come as the upper halves of binary32 numbers: biased, in bits 7 to 14 of 16. Two of them
are added as one word of 32 bits: a carry out of the lower sum ends below the upper exponent.
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
    F32,
    I16,
    I32,
    I64,
    LANES,
    SIGN32,
    V32,
    VF,
    Loop,
    any_lane,
    any_of,
    bits_of,
    choose,
    common_bits,
    either,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.products._cpu_blocks import (
    BIAS,
    G_CUT,
    G_MAGIC,
    G_MAX,
    G_POWER,
    G_SLOTS,
    Adder,
)
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS

# Where exponents lie in a word.
PLACE = 7
# Exponents, not biased, between which no step leaves binary32; operands are not above them, either.
LOWEST, HIGHEST = -100, 90
# Exponents of zeros of A, biased, and of B: sums with any other are below all, and do not overflow.
OF_ZERO_A, OF_ZERO_B = LOWEST - 1 - HIGHEST + BIAS, LOWEST - 1 - HIGHEST

# Parameters, eight bytes each; the first are those of `_cpu_blocks`, patterns instead of exponents.
(
    T_SCALE,
    T_LEAST,
    T_WORD,
    T_LOWEST,
    T_HIGHEST,
    T_VECTORS,  # vectors in a tile
    T_LOW_BITS,  # mask of the bits below the last that is kept
    T_HALF,  # the bit that is half of that
    T_LIFT,  # what brings the pattern of the smallest normal number to that of 2
    T_SLOTS,
) = range(G_SLOTS, G_SLOTS + 10)
V16 = ir.VectorType(I16, COLUMNS)


class Tile(Adder):
    """Emits the code of one block of a tile."""

    def pairs(self, n: Any) -> list[Any]:
        """The largest exponents of the products of each row, those of both vectors in pairs."""
        builder = self.builder
        loop = Loop(builder, n, [self.parameter(T_WORD, I16, COLUMNS)] * ROWS)
        k = self.place(loop.index)
        at_a = builder.mul(k, index(4 * ROWS))
        ys = load(builder, self.at["eb"], V32, builder.mul(k, index(2 * COLUMNS)))
        new = []
        for r, most in enumerate(loop.state):
            x = splat(builder, load(builder, self.at["ea"], I32, builder.add(at_a, index(4 * r))))
            both = builder.bitcast(builder.add(ys, x), V16)
            new.append(choose(builder, ">", both, most))
        return loop.close(new)

    def largest(self, n: Any) -> list[Any]:
        """Patterns of the largest exponents of the products; other bits are zero."""
        builder, patterns = self.builder, []
        for row in self.pairs(n):
            pairs = builder.bitcast(row, V32)
            patterns.append(builder.shl(pairs, filled(V32, 16)))
            patterns.append(builder.and_(pairs, filled(V32, EXPONENT32)))
        return patterns

    def exponent_of_sum(self, total: Any, *, nearest: bool) -> Any:
        """Pattern of the exponent of a running sum."""
        builder = self.builder
        power = builder.and_(bits_of(builder, total), filled(V32, EXPONENT32))
        if not nearest:
            return power
        least = choose(builder, ">", power, self.parameter(T_LEAST, I32))
        zero = builder.fcmp_ordered("==", total, filled(VF, 0.0))
        return builder.select(zero, filled(V32, 0), least)

    def weak(self, totals: list[Any]) -> Any:
        """Whether a sum of a tile is subnormal in the format, and not zero."""
        builder, small = self.builder, []
        limit = builder.sub(self.parameter(T_LEAST, I32), filled(V32, 1))
        for total in totals:
            size = builder.and_(bits_of(builder, total), filled(V32, ~SIGN32 & 0xFFFFFFFF))
            small.append(builder.icmp_unsigned("<", builder.sub(size, filled(V32, 1)), limit))
        return any_lane(builder, any_of(builder, small))

    def exponents_of_sums(self, totals: list[Any], is_weak: Any) -> list[Any]:
        """Patterns of the exponents of running sums that are seldom subnormal."""
        builder, before = self.builder, self.builder.block
        usual = [self.exponent_of_sum(each, nearest=False) for each in totals]
        with builder.if_then(is_weak, likely=False):
            others = [self.exponent_of_sum(each, nearest=True) for each in totals]
            rare = builder.block
        return either(builder, (usual, before), (others, rare))

    def bounded(self, values: list[Any], units: list[Any]) -> tuple[list[Any], Any]:
        """Integers times powers of two, rounded to nearest where nothing is beyond the end.

        By half of the last place, as in `_cpu_chains`; a tile with a tie, or a result below the
        smallest normal number, once more. And whether a result is subnormal.
        """
        builder, before, ties, lifted = self.builder, self.builder.block, [], []
        rounded = []
        mask = self.parameter(T_LOW_BITS, I32)
        half, lift = (self.parameter(slot, I32) for slot in (T_HALF, T_LIFT))
        for value, unit in zip(values, units, strict=True):
            moved = builder.add(bits_of(builder, builder.sitofp(value, VF)), half)
            low = builder.and_(moved, mask)
            ties.append(builder.icmp_unsigned("==", low, filled(V32, 0)))
            kept = builder.bitcast(builder.and_(moved, builder.not_(mask)), VF)
            rounded.append(builder.fmul(kept, unit))
            lifted.append(builder.add(bits_of(builder, rounded[-1]), lift))
        large = builder.and_(common_bits(builder, lifted), filled(V32, 1 << 30))
        ties.append(builder.icmp_unsigned("==", large, filled(V32, 0)))
        with builder.if_then(any_lane(builder, any_of(builder, ties)), likely=False):
            others = one_by_one(self, [values, units], self.inside)
            is_weak, rare = self.weak(others), builder.block
        never = ir.Constant(ir.IntType(1), 0)
        *new, is_weak = either(builder, ([*rounded, never], before), ([*others, is_weak], rare))
        return new, is_weak

    def truncated(self, value: Any, unit: Any) -> Any:
        """An integer times a power of two, cut to 24 bits; +0 for 0."""
        return self.builder.fmul(self.builder.sitofp(value, VF), unit)

    def shortened(self, value: Any, unit: Any) -> Any:
        """The same, cut to fewer bits; +0 for what is cut to nothing."""
        builder = self.builder
        bits = bits_of(builder, builder.sitofp(value, VF))
        kept = builder.and_(bits, self.parameter(G_CUT, I32))
        return builder.fmul(builder.bitcast(kept, VF), unit)

    def nearest(self, value: Any, unit: Any) -> Any:
        """The same, rounded to nearest in a format of at most 15 bits; infinite beyond its end."""
        builder = self.builder
        rounded = self.inside(value, unit)
        size = builder.and_(bits_of(builder, rounded), filled(V32, ~SIGN32 & 0xFFFFFFFF))
        most = bits_of(builder, self.parameter(G_MAX, F32))
        beyond = builder.icmp_signed(">", size, most)
        sign = builder.and_(value, filled(V32, SIGN32))
        infinite = builder.bitcast(builder.or_(sign, filled(V32, EXPONENT32)), VF)
        return builder.select(beyond, infinite, rounded)

    def inside(self, value: Any, unit: Any) -> Any:
        """The same where nothing is beyond the end; a difference that is zero is +0 here.

        What does not fit into 24 bits is rounded to odd first, 8 bits above the last.
        """
        builder = self.builder
        moved = builder.add(value, filled(V32, 1 << 24))
        wide = builder.icmp_unsigned(">=", moved, filled(V32, 1 << 25))
        low = builder.and_(value, filled(V32, 0xFF))
        odd = builder.and_(wide, builder.icmp_unsigned("!=", low, filled(V32, 0)))
        kept = builder.and_(value, filled(V32, 0xFFFFFF00))
        short = builder.select(odd, builder.or_(kept, filled(V32, 0x100)), value)
        exact = builder.fmul(builder.sitofp(short, VF), unit)
        power = builder.bitcast(builder.and_(bits_of(builder, exact), filled(V32, EXPONENT32)), VF)
        least, magic = self.parameter(G_POWER, F32), self.parameter(G_MAGIC, F32)
        power = builder.select(builder.fcmp_ordered(">", power, least), power, least)
        shifted = fma(builder, power, magic, exact)
        return fma(builder, builder.fneg(power), magic, shifted)


def one_by_one(tile: Tile, tables: list[list[Any]], function: Any) -> list[Any]:
    """What a function makes of the vectors of a tile, by way of memory.

    For what is rare: nothing waits for it in registers.
    """
    builder, n, step = tile.builder, len(tables[0]), 4 * LANES
    # A compiler that knew the number would undo the loop, and its memory.
    n_vectors = load(builder, tile.params, I64, 8 * T_VECTORS)
    room = cgutils.alloca_once(builder, ir.ArrayType(VF, n * len(tables)))
    at = builder.ptrtoint(room, I64)
    for i, value in enumerate(value for table in tables for value in table):
        store(builder, value, at, step * i)
    loop = Loop(builder, n_vectors, [])
    here = builder.add(at, builder.mul(loop.index, index(step)))
    values = [load(builder, here, table[0].type, step * n * i) for i, table in enumerate(tables)]
    store(builder, function(*values), here, 0)
    loop.close([])
    return [load(builder, at, VF, step * i) for i in range(n)]


def _joined(builder: ir.IRBuilder, left: list[Any], right: list[Any], odd: Any) -> Any:
    """Sums, and a word that is negative where one has ever left 32 bits."""
    sums = [builder.add(x, y) for x, y in zip(left, right, strict=True)]
    for x, y, z in zip(left, right, sums, strict=True):
        odd = builder.or_(odd, builder.and_(builder.xor(x, z), builder.xor(y, z)))
    return sums, odd


def _total(
    tile: Tile, size: Any, scales: list[Any], starts: list[Any], odd: Any, parts: int
) -> Any:
    """The sums of a block; see `_cpu_blocks`."""
    builder, n = tile.builder, max(parts, 1)
    if parts == 0:
        return tile.added(size, index(0), scales, starts), odd
    zeros = [filled(V32, 0)] * len(starts)
    own = builder.udiv(size, index(n)) if n > 1 else size
    total, *others = [tile.added(own, builder.mul(own, index(i)), scales, zeros) for i in range(n)]
    for other in (*others, starts):
        total, odd = _joined(builder, total, other, odd)
    return total, odd


def emit(builder: ir.IRBuilder, arguments: Any, *, finish: str, parts: int) -> Any:
    """All blocks, or none."""
    *places, n_blocks, size, params = arguments
    c_at = places[4]
    of_tile = [load(builder, c_at, VF, 4 * LANES * i) for i in range(ROWS * PANELS)]
    is_weak = Tile(builder, {}, params).weak(of_tile)
    loop = Loop(builder, n_blocks, [*of_tile, filled(V32, 0), is_weak])
    *totals, odd, is_weak = loop.state
    skip = builder.mul(loop.index, size)
    steps = {"a": 4 * ROWS, "ea": 4 * ROWS, "b": 4 * COLUMNS, "eb": 2 * COLUMNS}
    at = {
        name: builder.add(place, builder.mul(skip, index(step)))
        for (name, step), place in zip(steps.items(), places, strict=False)
    }
    tile = Tile(builder, at, params)
    of_products = tile.largest(size)
    if finish == "bounded":
        of_sums = tile.exponents_of_sums(totals, is_weak)
    else:
        of_sums = [tile.exponent_of_sum(each, nearest=finish == "nearest") for each in totals]
    patterns = [choose(builder, ">", *each) for each in zip(of_products, of_sums, strict=True)]
    scale, whole = tile.parameter(T_SCALE, I32), filled(V32, 254 << 23)
    fields = [builder.sub(scale, each) for each in patterns]
    scales = [builder.bitcast(each, VF) for each in fields]
    starts = [
        builder.fptosi(builder.fmul(total, each), V32)
        for total, each in zip(totals, scales, strict=True)
    ]
    values, odd = _total(tile, size, scales, starts, odd, parts)
    units = [builder.bitcast(builder.sub(whole, each), VF) for each in fields]
    if finish == "bounded":
        new, is_weak = tile.bounded(values, units)
    else:
        new = [getattr(tile, finish)(*each) for each in zip(values, units, strict=True)]
    *new, odd, _ = loop.close([*new, odd, is_weak])
    wrong = any_lane(builder, builder.icmp_signed("<", odd, filled(V32, 0)))
    with builder.if_then(builder.not_(wrong), likely=True):
        for i, value in enumerate(new):
            store(builder, value, c_at, 4 * LANES * i)
    return builder.select(wrong, index(0), n_blocks)


def _intrinsic(finish: str, parts: int) -> Any:
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
        """Join n_blocks >= 1 blocks of some products each to a tile; all others are addresses.

        Returns how many were joined: all or none.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit(builder, arguments, finish=finish, parts=parts)

        kinds = [*[types.uint64] * 5, types.int64, types.int64, types.uint64]
        return types.int64(*kinds), generate

    return blocks


truncated0, truncated1, truncated2 = (_intrinsic("truncated", n) for n in (0, 1, 2))
nearest0, nearest1, nearest2 = (_intrinsic("nearest", n) for n in (0, 1, 2))
bounded0, bounded1, bounded2 = (_intrinsic("bounded", n) for n in (0, 1, 2))
shortened0, shortened1, shortened2 = (_intrinsic("shortened", n) for n in (0, 1, 2))


@intrinsic
def set_rounding(typing_context: Any, mode: Any) -> Any:
    """Set the direction of this thread: 0 toward zero, 1 to nearest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.set.rounding")
        builder.call(function, [builder.trunc(arguments[0], I32)])
        return context.get_dummy_value()

    return types.void(types.int64), generate
