"""Partial sums added to totals in a narrow format, sixteen at a time."""

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
    LANES,
    SIGN32,
    V32,
    VD,
    VF,
    Loop,
    bits_of,
    filled,
    fma,
    index,
    load,
    splat,
    store,
)

# The most bits for which binary32 rounds sums of two numbers so well that rounding once more does
# no harm (Figueroa 1995).
WIDEST = 11

# Parameters, eight bytes each, in binary32.
(
    J_UNSCALE,  # what brings partial sums back to their size
    J_MAGIC,  # 1.5 2^(24-p)
    J_SLOTS,
) = range(3)


def emit(builder: ir.IRBuilder, arguments: Any) -> None:
    """Totals in binary64, partial sums in binary32, none of them close to the end of the format.

    A sum that is subnormal in the format is exact: both addends are multiples of its last place.
    """
    totals_at, parts_at, n, params = arguments
    unscale, magic = (
        splat(builder, load(builder, params, F32, 8 * slot)) for slot in range(J_SLOTS)
    )
    loop = Loop(builder, builder.udiv(n, index(LANES)), [])
    at = builder.add(totals_at, builder.mul(loop.index, index(8 * LANES)))
    total = builder.fptrunc(load(builder, at, VD, 0), VF)
    part = load(builder, parts_at, VF, builder.mul(loop.index, index(4 * LANES)))
    value = fma(builder, part, unscale, total)
    power = builder.bitcast(builder.and_(bits_of(builder, value), filled(V32, EXPONENT32)), VF)
    rounded = fma(builder, builder.fneg(power), magic, fma(builder, power, magic, value))
    sign = builder.and_(bits_of(builder, value), filled(V32, SIGN32))
    signed = builder.bitcast(builder.or_(bits_of(builder, rounded), sign), VF)
    store(builder, builder.fpext(signed, VD), at, 0)
    loop.close([])


@intrinsic
def narrow(typing_context: Any, totals: Any, parts: Any, n: Any, params: Any) -> Any:
    """Add n >= 16 partial sums, a multiple of 16; all others are addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.int64, types.uint64), generate
