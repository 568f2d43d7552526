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
    EXPONENT64,
    F32,
    F64,
    LANES,
    Loop,
    any_lane,
    any_of,
    bits_of,
    either,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.products._cpu_chains import COLUMNS, H_SLOTS, PANELS, ROWS, Chain

# Parameters behind those of a chain. Exponents are those of products, of each tile.
(
    D_LARGE,  # what the first of two numbers begins with
    D_SPREAD,  # between the smallest and the largest for which one number is enough
    D_LOWEST,  # the smallest for which one number is enough
    D_LEAST,  # the smallest for which two numbers are enough
    D_PLACES,  # how far the last place of a product lies below its exponent
    D_START,  # last place of the initial values
    D_BLOCK,  # how far sums of the products of a block may lie above the largest exponent
    D_SLOTS,
) = range(H_SLOTS, H_SLOTS + 8)
# The bits of a binary64 number that binary32 has no place for, and what a midpoint has there.
_REST, _HALF = (1 << 29) - 1, 1 << 28


# Half of a vector of binary32 numbers is as wide as one of binary64.
_LANES = LANES // 2
_VF, _VD = ir.VectorType(F32, _LANES), ir.VectorType(F64, _LANES)


class _Sums(Chain):
    """Emits the code of exact sums of 4 rows and 16 columns, of operands in binary64."""

    def __init__(self, builder: ir.IRBuilder, arguments: Any, panel: Any) -> None:
        *places, self.n_blocks, self.size, self.last, params = arguments
        super().__init__(builder, (*places, self.n_blocks, params), fused=True)
        self._skip = builder.mul(panel, index(4 * LANES))

    def wide(self, k: Any) -> list[tuple[Any, Any]]:
        """The operands of each vector of sums, in binary64."""
        builder = self.builder
        a_row, b_row = builder.mul(k, index(8 * ROWS)), builder.mul(k, index(8 * COLUMNS))
        b_row = builder.add(b_row, builder.shl(self._skip, index(1)))
        places = [builder.add(b_row, index(at)) for at in (0, 8 * _LANES)]
        ys = [load(builder, self.b_at, _VD, at) for at in places]
        pairs = []
        for row in range(ROWS):
            x = load(builder, self.a_at, F64, builder.add(a_row, index(8 * row)))
            pairs += [(splat(builder, x, _LANES), y) for y in ys]
        return pairs

    def places(self) -> list[Any]:
        """Where the sums lie."""
        builder, offsets = self.builder, (0, 4 * _LANES)
        first = builder.add(self.c_at, self._skip)
        return [
            builder.add(first, index(4 * COLUMNS * row + at))
            for row in range(ROWS)
            for at in offsets
        ]

    def starts(self) -> list[Any]:
        """The sums so far, in binary64."""
        builder = self.builder
        return [builder.fpext(load(builder, at, _VF, 0), _VD) for at in self.places()]

    def keep_wide(self, values: list[Any]) -> None:
        """Write sums back, which are numbers of binary32."""
        for at, value in zip(self.places(), values, strict=True):
            store(self.builder, self.builder.fptrunc(value, _VF), at, 0)


def _of_block(sums: _Sums, number: Any, size: int) -> list[Any]:
    """The products of a block added in binary64; -0 is what they are added to."""
    builder, n = sums.builder, index(size) if size else sums.size
    first, zero = builder.mul(number, n), filled(_VD, -0.0)
    if not size:
        loop = Loop(builder, n, [zero] * (2 * ROWS))
        pairs = sums.wide(builder.add(first, loop.index))
        return loop.close([fma(builder, *xy, z) for xy, z in zip(pairs, loop.state, strict=True)])
    values = [builder.fmul(x, y) for x, y in sums.wide(first)]
    for i in range(1, size):
        pairs = sums.wide(builder.add(first, index(i)))
        values = [fma(builder, *xy, z) for xy, z in zip(pairs, values, strict=True)]
    return values


def _is_midpoint(builder: ir.IRBuilder, value: Any) -> Any:
    """Where a binary64 number lies between two of binary32."""
    bits = bits_of(builder, value)
    rest = builder.and_(bits, filled(bits.type, _REST))
    return builder.icmp_unsigned("==", rest, filled(bits.type, _HALF))


def _power(value: Any, builder: ir.IRBuilder) -> Any:
    """The power of two that is not above the size of a number."""
    bits = bits_of(builder, value)
    return builder.bitcast(builder.and_(bits, filled(bits.type, EXPONENT64)), _VD)


def _joined(sums: _Sums, xs: list[Any], ys: list[Any]) -> list[Any]:
    """Sums in binary64 such that another rounding, to binary32, is right.

    Those smaller than 2^53 of the last place that there is are exact.
    """
    builder = sums.builder
    joined = [builder.fadd(x, y) for x, y in zip(xs, ys, strict=True)]
    limit = builder.shl(builder.add(sums.last, index(53 + 1023)), index(52))
    limit = splat(builder, builder.bitcast(limit, F64), _LANES)
    large = [builder.fcmp_unordered(">=", _power(each, builder), limit) for each in joined]

    def with_care() -> list[Any]:
        ties = [_is_midpoint(builder, each) for each in joined]
        return _where(builder, ties, joined, of_ties)

    def of_ties() -> list[Any]:
        lost = [_has_lost(builder, *each) for each in zip(xs, ys, joined, strict=True)]
        return _where(builder, lost, joined, of_lost)

    def of_lost() -> list[Any]:
        return [sums.odd_sum(x, y) for x, y in zip(xs, ys, strict=True)]

    return _where(builder, large, joined, with_care)


def _where(builder: ir.IRBuilder, masks: list[Any], usual: list[Any], rare: Any) -> list[Any]:
    """The values that a function emits, if a mask holds anywhere, else the usual ones."""
    before, asked = builder.block, any_lane(builder, any_of(builder, masks))
    with builder.if_then(asked, likely=False):
        others = rare()
        after = builder.block
    return either(builder, (usual, before), (others, after))


def _has_lost(builder: ir.IRBuilder, x: Any, y: Any, total: Any) -> Any:
    """Where a sum is not exact, by TwoSum."""
    part = builder.fsub(total, x)
    left, right = builder.fsub(x, builder.fsub(total, part)), builder.fsub(y, part)
    return builder.fcmp_unordered("!=", builder.fadd(left, right), filled(x.type, 0.0))


def _rounded(value: Any, builder: ir.IRBuilder) -> Any:
    """Numbers inside the range of binary32 rounded to its precision; zeros become +0.

    1.5 x 2^29 times the power of two below a number, formed in its exponent, is added and taken
    away: conversions to binary32 and back cost twice as much.
    """
    power = bits_of(builder, _power(value, builder))
    magic = builder.add(power, filled(power.type, (29 << 52) | (1 << 51)))
    magic = builder.bitcast(magic, _VD)
    return builder.fsub(builder.fadd(value, magic), magic)


def emit_single(builder: ir.IRBuilder, arguments: Any, *, size: int, sure: bool) -> None:
    """Blocks whose products binary64 adds without error, joined in binary32; of any size if 0.

    Sure: joining them is exact as well, before it is rounded.
    """
    panels = Loop(builder, index(PANELS), [])
    sums = _Sums(builder, arguments, panels.index)
    blocks = Loop(builder, sums.n_blocks, sums.starts())
    products = _of_block(sums, blocks.index, size)
    if sure:
        joined = [builder.fadd(x, y) for x, y in zip(blocks.state, products, strict=True)]
    else:
        joined = _joined(sums, blocks.state, products)
    sums.keep_wide(blocks.close([_rounded(each, builder) for each in joined]))
    panels.close([])


def _apart(sums: _Sums, number: Any, large: Any, starts: list[Any]) -> list[Any]:
    """The large and the small parts of sums to which the products of a block are added."""
    builder, n = sums.builder, len(starts)
    tops = [builder.fadd(large, each) for each in starts]
    rests = [
        builder.fsub(each, builder.fsub(top, large)) for each, top in zip(starts, tops, strict=True)
    ]
    loop = Loop(builder, sums.size, [*tops, *rests])
    k = builder.add(builder.mul(number, sums.size), loop.index)
    tops, rests = [], []
    for i, (x, y) in enumerate(sums.wide(k)):
        top = fma(builder, x, y, loop.state[i])
        added = builder.fsub(top, loop.state[i])
        rest = fma(builder, x, y, builder.fneg(added))
        tops.append(top)
        rests.append(builder.fadd(loop.state[n + i], rest))
    return loop.close([*tops, *rests])


def emit_double(builder: ir.IRBuilder, arguments: Any, *, general: bool) -> None:
    """Blocks whose sums two binary64 numbers hold.

    General: in any format inside binary32. Else in binary32, where no sum needs a place below its
    last one.
    """
    panels = Loop(builder, index(PANELS), [])
    sums = _Sums(builder, arguments, panels.index)
    blocks = Loop(builder, sums.n_blocks, sums.starts())
    large = splat(builder, load(builder, sums.params, F64, 8 * D_LARGE), _LANES)
    parts = _apart(sums, blocks.index, large, blocks.state)
    n = len(blocks.state)
    # Not top - large: a sum of nothing but -0 is -0.
    moved = [builder.fneg(builder.fsub(large, top)) for top in parts[:n]]
    if general:
        odd = [sums.odd_sum(rest, top) for rest, top in zip(parts[n:], moved, strict=True)]
        new = [sums.nearest(each) for each in odd]
    else:
        joined = _joined(sums, parts[n:], moved)
        new = [builder.fpext(builder.fptrunc(each, _VF), _VD) for each in joined]
    sums.keep_wide(blocks.close(new))
    panels.close([])


def _intrinsic(emit: Any, **how: Any) -> Any:
    @intrinsic
    def sums(
        typing_context: Any,
        a: Any,
        b: Any,
        c: Any,
        n_blocks: Any,
        size: Any,
        last: Any,
        params: Any,
    ) -> Any:
        """Join n_blocks >= 1 blocks of some products each to a tile; all others are addresses."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit(builder, arguments, **how)
            return context.get_dummy_value()

        kinds = [*[types.uint64] * 3, *[types.int64] * 3, types.uint64]
        return types.void(*kinds), generate

    return sums


sure, sure2, sure4 = (_intrinsic(emit_single, size=n, sure=True) for n in (0, 2, 4))
single, single2, single4 = (_intrinsic(emit_single, size=n, sure=False) for n in (0, 2, 4))
double, double32 = (_intrinsic(emit_double, general=each) for each in (True, False))
