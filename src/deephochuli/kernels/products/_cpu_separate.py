"""Tiles of chains in a narrow format whose products are rounded before they are added.

In binary32 a product of two numbers of 12 bits is exact, and the sum of two numbers of 11 bits,
rounded there first, is rounded rightly to 11 bits afterwards (Figueroa 1995). What is rounded to
the format is added to, and taken from, a number so large that the last place of the format is its
own. Sums near the end of the format are noticed in the end; the tile is then formed again with
more care, from sums that are still in memory.
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
    I32,
    SIGN32,
    V32,
    VF,
    Loop,
    any_lane,
    bits_of,
    choose,
    filled,
    fma,
)
from deephochuli.kernels.products._cpu_chains import H_SLOTS, PANELS, ROWS, Chain, emit_careful

# Parameters behind those of a chain.
(
    Q_LEAST,  # pattern of the smallest normal number
    Q_LIMIT,  # pattern of a power of two from which sums are formed with more care
    Q_MAGIC,  # 1.5 x 2^(24 - p)
    Q_STEP,  # what makes the pattern of a power of two that of 1.5 x 2^(24 - p) times as much
    Q_SLOTS,
) = range(H_SLOTS, H_SLOTS + 5)


class _Rounding:
    """Emits the code that rounds to the format, inside its range."""

    def __init__(self, chain: Chain, *, signed: bool) -> None:
        self._builder, self._signed = chain.builder, signed
        self._least, self._step = chain.parameter(Q_LEAST, I32), chain.parameter(Q_STEP, I32)
        self._magic = chain.parameter(Q_MAGIC, F32)

    def power(self, value: Any) -> Any:
        """Pattern of the power of two that decides what the last place is."""
        power = self._builder.and_(bits_of(self._builder, value), filled(V32, EXPONENT32))
        return choose(self._builder, ">", power, self._least)

    def product(self, value: Any) -> Any:
        """A product rounded, by multiplications."""
        builder = self._builder
        power = builder.bitcast(self.power(value), VF)
        moved = fma(builder, power, self._magic, value)
        return self._with_sign(fma(builder, builder.fneg(power), self._magic, moved), value)

    def total(self, value: Any, power: Any) -> Any:
        """A sum rounded, by additions: processors have other units for those."""
        builder = self._builder
        magic = builder.bitcast(builder.add(power, self._step), VF)
        return self._with_sign(builder.fsub(builder.fadd(value, magic), magic), value)

    def _with_sign(self, rounded: Any, value: Any) -> Any:
        """The same; where that matters, a zero with the sign of what was rounded."""
        if not self._signed:
            return rounded
        builder = self._builder
        sign = builder.and_(bits_of(builder, value), filled(V32, SIGN32))
        return builder.bitcast(builder.or_(bits_of(builder, rounded), sign), VF)


def emit(builder: ir.IRBuilder, arguments: Any, *, signed: bool) -> None:
    """Chains in a narrow format; signed: sums may begin at -0."""
    chain = Chain(builder, arguments, fused=False)
    rounding = _Rounding(chain, signed=signed)
    loop = Loop(builder, chain.n, [*chain.tile(VF, 4), *[filled(V32, 0)] * ROWS])
    new, powers = [], list(loop.state[ROWS * PANELS :])
    for i, (x, y) in enumerate(chain.pairs(loop.index)):
        value = builder.fadd(loop.state[i], rounding.product(builder.fmul(x, y)))
        power = rounding.power(value)
        powers[i // PANELS] = choose(builder, ">", power, powers[i // PANELS])
        new.append(rounding.total(value, power))
    *sums, first, second, third, fourth = loop.close([*new, *powers])
    largest = choose(
        builder, ">", choose(builder, ">", first, second), choose(builder, ">", third, fourth)
    )
    beyond = builder.icmp_signed(">=", largest, chain.parameter(Q_LIMIT, I32))
    with builder.if_else(any_lane(builder, beyond), likely=False) as (rarely, mostly):
        with rarely:
            emit_careful(builder, arguments, fused=False)
        with mostly:
            chain.keep(sums, 4)


def _intrinsic(*, signed: bool) -> Any:
    @intrinsic
    def tile(typing_context: Any, a: Any, b: Any, c: Any, n: Any, params: Any) -> Any:
        """Add n >= 1 products to each sum of a tile; all but n are addresses."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit(builder, arguments, signed=signed)
            return context.get_dummy_value()

        return types.void(*[types.uint64] * 3, types.int64, types.uint64), generate

    return tile


quick, signed = _intrinsic(signed=False), _intrinsic(signed=True)
