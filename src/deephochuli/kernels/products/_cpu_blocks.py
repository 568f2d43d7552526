"""Tiles of aligned sums: 4 rows by 32 columns, block after block of products.

Of each block the exponents of all products are looked at first, 32 to a vector. Then each product,
exact in binary32, is scaled so that the last kept bit becomes 1, made an integer, which cuts it
toward zero, and added. Blocks whose exponents are so small or so large that a step could leave
binary32, or whose sum could leave 32 bits, are left to the caller; so is whatever is not finite.
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
    bits_of,
    choose,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.products._cpu_chains import COLUMNS, PANELS, ROWS, copies

BIAS = 127
# Exponents, biased, between which no step leaves binary32.
LOWEST, HIGHEST = BIAS - 60, BIAS + 90
# Exponents of zeros and of what is not finite: a sum of two stays within 16 bits.
OF_ZERO, OF_SPECIAL = -4000, 12000

# Parameters, eight bytes each; exponents are biased.
(
    G_FLOOR,  # least exponent of a sum
    G_SCALE,  # F + 254
    G_CUT,  # mask of the bits of a result that are kept (rounding toward zero)
    G_LEAST,  # exponent of the smallest normal result, biased
    G_POWER,  # the same number
    G_MAGIC,  # 1.5 2^(24-p)
    G_MAX,  # largest finite result
    G_NOTHING,  # zero
    G_SLOTS,
) = range(9)
_V16 = ir.VectorType(I16, COLUMNS)


class Adder:
    """Emits the code that adds the products of a block, or every second of them."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        at: dict[str, Any],
        params: Any,
        *,
        first: int = 0,
        stride: int = 1,
    ) -> None:
        self.builder, self.at, self.params = builder, at, params
        self._first, self._stride = first, stride

    def place(self, k: Any) -> Any:
        """Where in the block the k-th product lies."""
        scaled = self.builder.mul(k, index(self._stride))
        return self.builder.add(scaled, index(self._first))

    def parameter(self, slot: int, kind: ir.Type, lanes: int = LANES) -> Any:
        """A parameter in all lanes."""
        return splat(self.builder, load(self.builder, self.params, kind, 8 * slot), lanes)

    def added(self, n: Any, first: Any, scales: list[Any], start: list[Any]) -> list[Any]:
        """The sums of n products from one on, as integers."""
        builder = self.builder
        apart = copies(builder, self.at["a"], load(builder, self.params, I64, 8 * G_NOTHING))
        loop = Loop(builder, n, start)
        k = self.place(builder.add(loop.index, first))
        at_a, at_b = (builder.mul(k, index(4 * size)) for size in (ROWS, COLUMNS))
        ys = [
            load(builder, self.at["b"], VF, builder.add(at_b, index(4 * LANES * j)))
            for j in range(PANELS)
        ]
        new = []
        for i, (total, scale) in enumerate(zip(loop.state, scales, strict=True)):
            r, j = divmod(i, PANELS)
            x = splat(builder, load(builder, apart[j], F32, builder.add(at_a, index(4 * r))))
            scaled = builder.fmul(builder.fmul(x, ys[j]), scale)
            new.append(builder.add(total, builder.fptosi(scaled, V32)))
        return loop.close(new)


class _Block(Adder):
    """Emits the code of one block."""

    def largest(self, n: Any) -> list[Any]:
        """The largest exponent of the products, of each row of the tile."""
        builder = self.builder
        floor = self.parameter(G_FLOOR, I16, COLUMNS)
        loop = Loop(builder, n, [floor] * ROWS)
        at_a = builder.mul(loop.index, index(4 * ROWS))
        ys = load(builder, self.at["eb"], _V16, builder.mul(loop.index, index(2 * COLUMNS)))
        new = []
        for r, most in enumerate(loop.state):
            twice = load(builder, self.at["ea"], I32, builder.add(at_a, index(4 * r)))
            x = builder.bitcast(splat(builder, twice), _V16)
            new.append(choose(builder, ">", builder.add(ys, x), most))
        return self._halves(loop.close(new))

    def _halves(self, rows: list[Any]) -> list[Any]:
        """Exponents of 32 columns as two vectors of 32 bits."""
        builder, halves = self.builder, []
        for row in rows:
            for j in range(PANELS):
                lanes = list(range(j * LANES, (j + 1) * LANES))
                order = ir.Constant(ir.VectorType(I32, LANES), lanes)
                halves.append(builder.sext(builder.shuffle_vector(row, row, order), V32))
        return halves


def _exponent_of_sum(block: _Block, total: Any, *, nearest: bool) -> Any:
    """Biased exponent of the sum so far; where results are narrow, with the care that needs."""
    builder = block.builder
    bits = bits_of(builder, total)
    field = builder.lshr(builder.shl(bits, filled(V32, 1)), filled(V32, 24))
    if not nearest:
        return field
    least = block.parameter(G_LEAST, I32)
    zero = builder.fcmp_ordered("==", total, filled(VF, 0.0))
    return builder.select(zero, block.parameter(G_FLOOR, I32), choose(builder, ">", field, least))


def _scale(block: _Block, exponent: Any) -> Any:
    """2^(F - E)."""
    builder = block.builder
    field = builder.sub(block.parameter(G_SCALE, I32), exponent)
    return builder.bitcast(builder.shl(field, filled(V32, 23)), VF)


def _unit(builder: ir.IRBuilder, scale: Any) -> Any:
    """2^(E - F): one over a power of two."""
    field = builder.sub(filled(V32, 254 << 23), bits_of(builder, scale))
    return builder.bitcast(field, VF)


def _magnitude(builder: ir.IRBuilder, value: Any) -> Any:
    negative = builder.icmp_signed("<", value, filled(V32, 0))
    return builder.select(negative, builder.neg(value), value)


def _truncated(block: _Block, value: Any, scale: Any) -> Any:
    """An integer of up to 31 bits divided by 2^(F - E), rounded toward zero to 24 bits."""
    builder = block.builder
    size = _magnitude(builder, value)
    near = builder.uitofp(size, VF)
    above = builder.icmp_unsigned(">", builder.fptoui(near, V32), size)
    bits = bits_of(builder, near)
    bits = builder.select(above, builder.sub(bits, filled(V32, 1)), bits)
    return builder.fmul(builder.bitcast(bits, VF), _unit(builder, scale))


def _shortened(block: _Block, value: Any, scale: Any) -> Any:
    """An integer of up to 24 bits divided by 2^(F - E), cut to a narrow format."""
    builder = block.builder
    whole = builder.uitofp(_magnitude(builder, value), VF)
    bits = builder.and_(bits_of(builder, whole), block.parameter(G_CUT, I32))
    return builder.fmul(builder.bitcast(bits, VF), _unit(builder, scale))


def _nearest(block: _Block, value: Any, scale: Any) -> Any:
    """The same, rounded to nearest in a format of at most 16 bits."""
    builder = block.builder
    size = _magnitude(builder, value)
    low = builder.and_(size, filled(V32, 0xFF))
    sticky = builder.select(
        builder.icmp_unsigned("!=", low, filled(V32, 0)), filled(V32, 0x100), filled(V32, 0)
    )
    short = builder.or_(builder.and_(size, filled(V32, 0xFFFFFF00)), sticky)
    fits = builder.icmp_unsigned("<", size, filled(V32, 1 << 24))
    whole = builder.uitofp(builder.select(fits, size, short), VF)
    exact = builder.fmul(whole, _unit(builder, scale))
    power = builder.bitcast(builder.and_(bits_of(builder, exact), filled(V32, EXPONENT32)), VF)
    least, magic = block.parameter(G_POWER, F32), block.parameter(G_MAGIC, F32)
    power = builder.select(builder.fcmp_ordered(">", power, least), power, least)
    shifted = fma(builder, power, magic, exact)
    rounded = fma(builder, builder.fneg(power), magic, shifted)
    beyond = builder.fcmp_ordered(">", rounded, block.parameter(G_MAX, F32))
    return builder.select(beyond, filled(VF, float("inf")), rounded)


def _signed(builder: ir.IRBuilder, size: Any, value: Any) -> Any:
    """The sign of the integer; results that are zero are +0."""
    sign = builder.and_(value, filled(V32, SIGN32))
    signed = builder.bitcast(builder.or_(bits_of(builder, size), sign), VF)
    return builder.fadd(signed, filled(VF, 0.0))


def _joined(builder: ir.IRBuilder, parts: list[list[Any]], odd: Any) -> tuple[list[Any], Any]:
    """Partial sums added one after the other, and where that left 32 bits."""
    while len(parts) > 1:
        left, right = parts.pop(0), parts.pop(0)
        sums = [builder.add(x, y) for x, y in zip(left, right, strict=True)]
        for x, y, z in zip(left, right, sums, strict=True):
            wrong = builder.and_(builder.xor(x, z), builder.xor(y, z))
            odd = builder.or_(odd, builder.icmp_signed("<", wrong, filled(V32, 0)))
        parts.insert(0, sums)
    return parts[0], odd


def _total(
    block: _Block, size: Any, scales: list[Any], starts: list[Any], odd: Any, parts: int
) -> tuple[list[Any], Any]:
    """The sums of a block, and where they, or something else, are too large.

    In no parts the running sum and all products fit into 32 bits together; else it joins last.
    """
    builder, n = block.builder, max(parts, 1)
    if parts == 0:
        return block.added(size, index(0), scales, starts), odd
    zeros = [filled(V32, 0)] * len(starts)
    part_size = builder.udiv(size, index(n)) if n > 1 else size
    sums = [
        block.added(part_size, builder.mul(part_size, index(i)), scales, zeros) for i in range(n)
    ]
    return _joined(builder, [*sums, starts], odd)


def emit(builder: ir.IRBuilder, arguments: Any, *, finish: Any, parts: int) -> Any:
    """Blocks until one has to be left to the caller."""
    *places, n_blocks, size, params = arguments
    outer = builder.append_basic_block("block")
    good = builder.append_basic_block("good")
    done = builder.append_basic_block("stop")
    entry = builder.block
    builder.branch(outer)
    builder.position_at_end(outer)
    number = builder.phi(I64)
    number.add_incoming(index(0), entry)
    skip = builder.mul(number, size)
    steps = {"a": 4 * ROWS, "ea": 4 * ROWS, "b": 4 * COLUMNS, "eb": 2 * COLUMNS}
    at = {
        name: builder.add(place, builder.mul(skip, index(step)))
        for (name, step), place in zip(steps.items(), places, strict=False)
    }
    c_at = places[4]
    block = _Block(builder, at, params)
    totals = [load(builder, c_at, VF, 4 * LANES * i) for i in range(ROWS * PANELS)]
    exponents, odd = [], None
    for of_products, total in zip(block.largest(size), totals, strict=True):
        of_sum = _exponent_of_sum(block, total, nearest=finish is _nearest)
        exponent = choose(builder, ">", of_products, of_sum)
        exponents.append(exponent)
        above = builder.sub(exponent, filled(V32, LOWEST))
        outside = builder.icmp_unsigned(">", above, filled(V32, HIGHEST - LOWEST))
        odd = outside if odd is None else builder.or_(odd, outside)
    scales = [_scale(block, each) for each in exponents]
    starts = [
        builder.fptosi(builder.fmul(total, scale), V32)
        for total, scale in zip(totals, scales, strict=True)
    ]
    values, odd = _total(block, size, scales, starts, odd, parts)
    results = [
        _signed(builder, finish(block, value, scale), value)
        for value, scale in zip(values, scales, strict=True)
    ]
    builder.cbranch(any_lane(builder, odd), done, good)
    stopped = builder.block
    builder.position_at_end(good)
    for i, value in enumerate(results):
        store(builder, value, c_at, 4 * LANES * i)
    after = builder.add(number, index(1))
    number.add_incoming(after, good)
    builder.cbranch(builder.icmp_signed("<", after, n_blocks), outer, done)
    builder.position_at_end(done)
    count = builder.phi(I64)
    count.add_incoming(number, stopped)
    count.add_incoming(after, good)
    return count


def _intrinsic(finish: Any, parts: int) -> Any:
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

        Returns how many were joined: the one after that is for the caller.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit(builder, arguments, finish=finish, parts=parts)

        kinds = [*[types.uint64] * 5, types.int64, types.int64, types.uint64]
        return types.int64(*kinds), generate

    return blocks


truncated0, truncated1, truncated2 = (_intrinsic(_truncated, n) for n in (0, 1, 2))
nearest0, nearest1, nearest2 = (_intrinsic(_nearest, n) for n in (0, 1, 2))
shortened = _intrinsic(_shortened, 0)
