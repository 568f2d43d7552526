"""Tiles of chains: 4 rows by 32 columns whose sums stay in registers while k runs.

A chain in a format of at most 22 bits is formed in binary32: an FMA, half of the last place added,
the bits below cut off. That is not the exact sum rounded once where the first rounding, to 24 bits,
gives a midpoint of the format, where the result is subnormal, and near the end of the format. All
three are noticed; such a step is done again with the error of the sum in hand (TwoSum), by rounding
to odd first: in binary32 where the product is exact there, else in binary64, where it always is.
Where products are short enough, ties are rounded to even at once, and no first rounding makes one.
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
    EXPONENT64,
    F32,
    F64,
    I32,
    I64,
    LANES,
    SIGN64,
    V32,
    VD,
    VF,
    Loop,
    any_lane,
    bits_of,
    common_bits,
    either,
    filled,
    flushed,
    fma,
    index,
    load,
    splat,
    store,
)

ROWS, COLUMNS = 4, 32
PANELS = COLUMNS // LANES

# Parameters of a chain, eight bytes each.
(
    H_LOW_BITS,  # mask of the bits below the last that is kept, in binary32
    H_HALF,  # the bit that is half of the last place, in binary32
    H_LEAST,  # pattern of the smallest normal number, in binary32
    H_SPAN,  # distance to the pattern of 2^emax
    H_MAGIC64,  # 1.5 2^(53-p)
    H_LEAST64,  # smallest normal number
    H_MAX,  # largest finite number
    H_BEYOND,  # what stands for larger ones
    H_MAGIC32,  # 1.5 2^(24-p), in binary32
    H_SLOTS,
) = range(10)


def copies(builder: ir.IRBuilder, address: Any, nothing: Any) -> list[Any]:
    """An address for each panel, equal if `nothing` is zero, as it is, unknown to the compiler.

    Processors broadcast an operand in memory on the way to a multiplication at no cost, but not
    one that goes to a register first, as it does if the compiler sees that it is needed twice.
    """
    addresses = [address]
    while len(addresses) < PANELS:
        addresses.append(builder.add(addresses[-1], nothing))
    return addresses


class Chain:
    """Emits the code of one chain."""

    def __init__(self, builder: ir.IRBuilder, arguments: Any, *, fused: bool) -> None:
        self.builder, self.fused = builder, fused
        self.a_at, self.b_at, self.c_at, self.n, self.params = arguments

    def parameter(self, slot: int, kind: ir.Type, lanes: int = LANES) -> Any:
        """A parameter in all lanes."""
        return splat(self.builder, load(self.builder, self.params, kind, 8 * slot), lanes)

    def operands(self, k: Any, kind: ir.Type, size: int) -> tuple[list[Any], list[Any]]:
        """Four broadcast elements of A and two vectors of B."""
        builder = self.builder
        a_row = builder.mul(k, index(ROWS * size))
        b_row = builder.mul(k, index(COLUMNS * size))
        vector = ir.VectorType(kind, LANES)
        xs = [
            splat(builder, load(builder, self.a_at, kind, builder.add(a_row, index(size * r))))
            for r in range(ROWS)
        ]
        ys = [
            load(builder, self.b_at, vector, builder.add(b_row, index(size * LANES * j)))
            for j in range(PANELS)
        ]
        return xs, ys

    def pairs(self, k: Any) -> list[tuple[Any, Any]]:
        """The operands of each vector of a tile, in binary32."""
        xs, ys = self.operands(k, F32, 4)
        return [(xs[i // PANELS], ys[i % PANELS]) for i in range(ROWS * PANELS)]

    def tile(self, vector: ir.VectorType, size: int) -> list[Any]:
        """The sums so far."""
        step = size * LANES
        return [load(self.builder, self.c_at, vector, step * i) for i in range(ROWS * PANELS)]

    def nearest(self, value: Any) -> Any:
        """Binary64 numbers rounded to the nearest of the format, in binary64."""
        return _nearest(self, value)

    def odd_sum(self, a: Any, b: Any) -> Any:
        """Sums rounded to odd."""
        return _sum_to_odd(self.builder, a, b)

    def keep(self, sums: list[Any], size: int) -> None:
        """Write the sums back."""
        for i, value in enumerate(sums):
            store(self.builder, value, self.c_at, size * LANES * i)


def emit_plain(
    builder: ir.IRBuilder, arguments: Any, *, fused: bool, wide: bool, flush: bool = False
) -> None:
    """Chains in binary32 or binary64, by the processor's own operations."""
    chain = Chain(builder, arguments, fused=fused)
    kind, size = (F64, 8) if wide else (F32, 4)
    loop = Loop(builder, chain.n, chain.tile(ir.VectorType(kind, LANES), size))
    xs, ys = chain.operands(loop.index, kind, size)
    new = []
    for i, total in enumerate(loop.state):
        x, y = xs[i // PANELS], ys[i % PANELS]
        new.append(_plain(builder, x, y, total, fused=fused, flush=flush))
    chain.keep(loop.close(new), size)


def _plain(builder: ir.IRBuilder, x: Any, y: Any, total: Any, *, fused: bool, flush: bool) -> Any:
    """One step of a chain in the processor's own format."""
    if fused:
        value = fma(builder, x, y, total)
    else:
        product = builder.fmul(x, y)
        value = builder.fadd(total, flushed(builder, product) if flush else product)
    return flushed(builder, value) if flush else value


def emit_interleaved(builder: ir.IRBuilder, arguments: Any, *, flush: bool) -> None:
    """The sum of an FMA chain over even and one over odd k, from zero."""
    chain = Chain(builder, arguments, fused=True)
    zero, n = filled(VF, 0.0), ROWS * PANELS
    pairs = builder.lshr(builder.add(chain.n, index(1)), index(1))
    loop = Loop(builder, pairs, [zero] * (2 * n))
    even = builder.shl(loop.index, index(1))
    odd = builder.add(even, index(1))
    exists = builder.icmp_signed("<", odd, chain.n)
    new = []
    for side, k in enumerate((even, builder.select(exists, odd, even))):
        for i, (x, y) in enumerate(chain.pairs(k)):
            total = loop.state[side * n + i]
            value = _plain(builder, x, y, total, fused=True, flush=flush)
            if side:
                value = builder.select(splat(builder, exists), value, total)
            new.append(value)
    sums = loop.close(new)
    both = [builder.fadd(x, y) for x, y in zip(sums[:n], sums[n:], strict=True)]
    chain.keep([flushed(builder, each) for each in both] if flush else both, 4)


def emit_careful(builder: ir.IRBuilder, arguments: Any, *, fused: bool) -> None:
    """Chains in a narrow format, in binary64 throughout."""
    chain = Chain(builder, arguments, fused=fused)
    loop = Loop(builder, chain.n, chain.tile(VF, 4))
    pairs = chain.pairs(loop.index)
    new = [_careful(chain, *xy, z) for xy, z in zip(pairs, loop.state, strict=True)]
    chain.keep(loop.close(new), 4)


def emit_quick(
    builder: ir.IRBuilder, arguments: Any, *, bounded: bool, exact: bool, even: bool = False
) -> None:
    """FMA chains in a narrow format, in binary32 where that is right.

    The sums leave the registers where a step needs care, and only there: so the loop itself has few
    values to hold. A bounded chain cannot leave the format at its upper end, and its operands are
    scaled so that the smallest normal number is at most 2. Exact: products are exact in binary32.
    Even: see `_to_even`.
    """
    chain = Chain(builder, arguments, fused=True)
    names = ("head", "body", "next", "rare", "leave", "finish", "done")
    head, body, following, rare, leave, finish, done = map(builder.append_basic_block, names)
    entry = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    first = builder.phi(I64)
    first.add_incoming(index(0), entry)
    start = _with_common(builder, chain.tile(VF, 4), even=even)
    builder.branch(body)

    builder.position_at_end(body)
    k = builder.phi(I64)
    k.add_incoming(first, head)
    state = [builder.phi(each.type) for each in start]
    for phi, value in zip(state, start, strict=True):
        phi.add_incoming(value, head)
    totals, pairs = state[: ROWS * PANELS], chain.pairs(k)
    sums = [fma(builder, *xy, z) for xy, z in zip(pairs, totals, strict=True)]
    if even:
        new, common = _to_even(chain, sums, state[-1])
    else:
        new, common, inside = _by_halves(chain, sums, bounded=bounded)
    builder.cbranch(any_lane(builder, builder.not_(common)), rare, following)

    builder.position_at_end(rare)
    ways = [(new, body)]
    if exact:
        repaired = [_tie_repaired(chain, *xy, z) for xy, z in zip(pairs, totals, strict=True)]
        ways.append((_with_common(builder, repaired, even=even), rare))
        outside = _small(chain, repaired) if bounded else builder.not_(inside)
        builder.cbranch(any_lane(builder, outside), leave, following)
    else:
        builder.branch(leave)

    builder.position_at_end(following)
    new = either(builder, *ways)
    after = builder.add(k, index(1))
    k.add_incoming(after, following)
    for phi, value in zip(state, new, strict=True):
        phi.add_incoming(value, following)
    builder.cbranch(builder.icmp_signed("<", after, chain.n), body, finish)
    builder.position_at_end(finish)
    chain.keep(new[: ROWS * PANELS], 4)
    builder.branch(done)

    builder.position_at_end(leave)
    chain.keep(totals, 4)
    _careful_step(chain, k)
    first.add_incoming(builder.add(k, index(1)), builder.block)
    builder.cbranch(builder.icmp_signed("<", builder.add(k, index(1)), chain.n), head, done)
    builder.position_at_end(done)


def _by_halves(chain: Chain, sums: list[Any], *, bounded: bool) -> tuple[list[Any], Any, Any]:
    """Sums in the format, where all of a tile are right, and where none is too small or large."""
    builder = chain.builder
    halves = [_moved_by_half(chain, each) for each in sums]
    inside = (
        _all_large(builder, common_bits(builder, halves)) if bounded else _all_inside(chain, sums)
    )
    common = builder.and_(_no_midpoint(chain, halves), inside)
    return [_cut(chain, each) for each in halves], common, inside


def _to_even(chain: Chain, sums: list[Any], before: Any) -> tuple[list[Any], Any]:
    """Sums in the format, ties to even, and where all of a tile are right.

    With p bits in the format and at most 24 - p in a product, one of both sums is exact in binary32
    or the product is too small to make a tie: then rounding twice is rounding once. The exception
    is a total that is smaller by 2^(23 - p) than the largest product: the scale makes that less
    than 2. So the totals before the step have to be 2 or more, and the sums for their range.
    """
    builder, new = chain.builder, []
    for value in sums:
        bits = builder.and_(bits_of(builder, value), filled(V32, EXPONENT32))
        power, magic = builder.bitcast(bits, VF), chain.parameter(H_MAGIC32, F32)
        shifted = fma(builder, power, magic, value)
        new.append(fma(builder, builder.fneg(power), magic, shifted))
    new = _with_common(builder, new, even=True)
    return new, _all_large(builder, builder.and_(before, new[-1]))


def _with_common(builder: ir.IRBuilder, values: list[Any], *, even: bool) -> list[Any]:
    """The sums of a tile and, for ties to even, the bits that are set in all."""
    return (
        [*values, common_bits(builder, [bits_of(builder, x) for x in values])] if even else values
    )


def _careful_step(chain: Chain, k: Any) -> None:
    """One step on sums in memory, in binary64."""
    builder = chain.builder
    loop = Loop(builder, index(ROWS * PANELS), [])
    row = builder.lshr(loop.index, index(PANELS.bit_length() - 1))
    column = builder.and_(loop.index, index(PANELS - 1))
    at_a = builder.add(builder.mul(k, index(4 * ROWS)), builder.mul(row, index(4)))
    at_b = builder.add(builder.mul(k, index(4 * COLUMNS)), builder.mul(column, index(4 * LANES)))
    at_c = builder.add(chain.c_at, builder.mul(loop.index, index(4 * LANES)))
    x = splat(builder, load(builder, chain.a_at, F32, at_a))
    y, total = load(builder, chain.b_at, VF, at_b), load(builder, at_c, VF, 0)
    store(builder, _careful(chain, x, y, total), at_c, 0)
    loop.close([])


def _moved_by_half(chain: Chain, value: Any) -> Any:
    """Patterns of sums moved away from zero by half of the last place that is kept.

    A pattern is a sign and a magnitude, and a carry out of the fraction is one of the exponent.
    """
    builder = chain.builder
    return builder.add(bits_of(builder, value), chain.parameter(H_HALF, I32))


def _cut(chain: Chain, pattern: Any) -> Any:
    """The bits that are kept."""
    builder = chain.builder
    kept = builder.not_(chain.parameter(H_LOW_BITS, I32))
    return builder.bitcast(builder.and_(pattern, kept), VF)


def _no_midpoint(chain: Chain, halves: list[Any]) -> Any:
    """Where no sum of a tile was a midpoint: one that was has no bits left below the last place.

    One chain of masks a row, so that comparisons can follow one another.
    """
    builder, mask = chain.builder, chain.parameter(H_LOW_BITS, I32)
    rows: list[Any] = [None] * ROWS
    for i, value in enumerate(halves):
        low = builder.and_(value, mask)
        off = builder.icmp_unsigned("!=", low, filled(V32, 0))
        before = rows[i // PANELS]
        rows[i // PANELS] = off if before is None else builder.and_(before, off)
    return builder.and_(builder.and_(rows[0], rows[1]), builder.and_(rows[2], rows[3]))


def _all_large(builder: ir.IRBuilder, common: Any) -> Any:
    """Where all sums of a tile are 2 or more: the leading bit of the exponent says so."""
    leading = builder.and_(common, filled(V32, 1 << 30))
    return builder.icmp_unsigned("!=", leading, filled(V32, 0))


def _small(chain: Chain, sums: list[Any]) -> Any:
    """Where a sum of a tile is subnormal; a zero is none, and is right as it is."""
    builder, small = chain.builder, None
    for value in sums:
        size = builder.and_(bits_of(builder, value), filled(V32, 0x7FFFFFFF))
        below = builder.sub(size, filled(V32, 1))
        limit = builder.sub(chain.parameter(H_LEAST, I32), filled(V32, 1))
        own = builder.icmp_unsigned("<", below, limit)
        small = own if small is None else builder.or_(small, own)
    return small


def _all_inside(chain: Chain, sums: list[Any]) -> Any:
    """Where all sums of a tile are neither subnormal nor close to the end of the format."""
    builder, inside = chain.builder, None
    for value in sums:
        power = builder.and_(bits_of(builder, value), filled(V32, EXPONENT32))
        above = builder.sub(power, chain.parameter(H_LEAST, I32))
        within = builder.icmp_unsigned("<", above, chain.parameter(H_SPAN, I32))
        inside = within if inside is None else builder.and_(inside, within)
    return inside


def _tie_repaired(chain: Chain, x: Any, y: Any, total: Any) -> Any:
    """A sum rounded to odd in binary32, then to the format: exact where the product is."""
    builder = chain.builder
    odd = bits_of(builder, _sum_to_odd(builder, total, builder.fmul(x, y)))
    mask = chain.parameter(H_LOW_BITS, I32)
    place = builder.add(mask, filled(V32, 1))
    last = builder.icmp_unsigned("!=", builder.and_(odd, place), filled(V32, 0))
    below = builder.lshr(mask, filled(V32, 1))
    step = builder.select(last, builder.add(below, filled(V32, 1)), below)
    kept = builder.and_(builder.add(odd, step), builder.not_(mask))
    return builder.bitcast(kept, VF)


def _careful(chain: Chain, x: Any, y: Any, total: Any) -> Any:
    """The same in binary64, right wherever."""
    builder = chain.builder
    wide = [builder.fpext(each, VD) for each in (x, y, total)]
    product = builder.fmul(wide[0], wide[1])
    if not chain.fused:
        product = _nearest(chain, product)
    return builder.fptrunc(_nearest(chain, _sum_to_odd(builder, wide[2], product)), VF)


def _sum_to_odd(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    """The sum, rounded to odd: its error by TwoSum decides the last bit."""
    total = builder.fadd(a, b)
    part = builder.fsub(total, a)
    error = builder.fadd(builder.fsub(a, builder.fsub(total, part)), builder.fsub(b, part))
    bits = bits_of(builder, total)
    kind = bits.type
    inexact = builder.fcmp_ordered("!=", error, filled(a.type, 0.0))
    even = builder.icmp_unsigned("==", builder.and_(bits, filled(kind, 1)), filled(kind, 0))
    differ = builder.xor(bits_of(builder, error), bits)
    outward = builder.icmp_signed(">=", differ, filled(kind, 0))
    step = builder.select(outward, filled(kind, 1), filled(kind, -1))
    chosen = builder.select(builder.and_(inexact, even), builder.add(bits, step), bits)
    return builder.bitcast(chosen, a.type)


def _nearest(chain: Chain, value: Any) -> Any:
    """Binary64 numbers rounded to the nearest of the format, in binary64."""
    builder, kind, lanes = chain.builder, value.type, value.type.count
    bits = bits_of(builder, value)
    sign = builder.and_(bits, filled(bits.type, SIGN64))
    power = builder.bitcast(builder.and_(bits, filled(bits.type, EXPONENT64)), kind)
    least = chain.parameter(H_LEAST64, F64, lanes)
    scale = builder.select(builder.fcmp_ordered(">", power, least), power, least)
    magic = builder.fmul(scale, chain.parameter(H_MAGIC64, F64, lanes))
    size = builder.bitcast(builder.xor(bits, sign), kind)
    rounded = builder.fsub(builder.fadd(size, magic), magic)
    beyond = builder.fcmp_ordered(">", rounded, chain.parameter(H_MAX, F64, lanes))
    rounded = builder.select(beyond, chain.parameter(H_BEYOND, F64, lanes), rounded)
    signed = builder.bitcast(builder.or_(bits_of(builder, rounded), sign), kind)
    finite = builder.fcmp_ordered("<", size, filled(kind, float("inf")))
    return builder.select(finite, signed, value)


def _intrinsic(emit: Any, **how: bool) -> Any:
    @intrinsic
    def tile(typing_context: Any, a: Any, b: Any, c: Any, n: Any, params: Any) -> Any:
        """Add n >= 1 products to each sum of a tile; all but n are addresses."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit(builder, arguments, **how)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 3, types.int64, types.uint64), generate

    return tile


fused32 = _intrinsic(emit_plain, fused=True, wide=False)
fused64 = _intrinsic(emit_plain, fused=True, wide=True)
separate32 = _intrinsic(emit_plain, fused=False, wide=False)
separate64 = _intrinsic(emit_plain, fused=False, wide=True)
flushing_fused32 = _intrinsic(emit_plain, fused=True, wide=False, flush=True)
flushing_separate32 = _intrinsic(emit_plain, fused=False, wide=False, flush=True)
interleaved32 = _intrinsic(emit_interleaved, flush=False)
flushing_interleaved32 = _intrinsic(emit_interleaved, flush=True)
quick_bounded = _intrinsic(emit_quick, bounded=True, exact=True)
quick_checked = _intrinsic(emit_quick, bounded=False, exact=True)
quick_even = _intrinsic(emit_quick, bounded=True, exact=True, even=True)
quick_wide = _intrinsic(emit_quick, bounded=False, exact=False)
careful_fused = _intrinsic(emit_careful, fused=True)
careful_separate = _intrinsic(emit_careful, fused=False)
