"""Rounding of blocks whose scale is a power of two.

Nothing is scaled. A block is rounded to a format of its own: that of the elements with all
exponents moved by that of the scale. What differs from block to block is the smallest normal
number and the largest one.

To round to nearest, ties to even, a number is added that has the wanted last bit of the result as
its own last bit, and taken away again (Dekker 1971 and others). It is 2^cut times the power of two
below the number or the smallest normal number, whichever is larger; so it serves both ranges.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir

from deephochuli.formats import Rounding
from deephochuli.kernels._cpu_emit import (
    EXPONENT32,
    F32,
    I32,
    V32,
    bits_of,
    filled,
    index,
    load,
    splat,
)
from deephochuli.kernels.rounding._constants import Word
from deephochuli.kernels.rounding._cpu_blocks import (
    LowRange,
    Noise,
    Vector,
    Vectors,
    extreme,
    magnitude_of,
    number_of,
    smaller,
)

LIMIT, BELOW, MOST = range(3)
"""Rows: the smallest normal number of a block, the number just below it, and the largest one."""
_STORED = 23


def _to_even(builder: ir.IRBuilder, x: Any, limit: Any, cut: Any) -> Any:
    """Round magnitudes to nearest, ties to even."""
    pattern, limit = bits_of(builder, x), bits_of(builder, limit)
    power = extreme(builder, ">", builder.and_(pattern, filled(V32, EXPONENT32)), limit)
    large = number_of(builder, builder.add(power, builder.shl(cut, filled(V32, _STORED))))
    return builder.fsub(builder.fadd(x, large), large)


def _cut_off(
    builder: ir.IRBuilder, x: Any, limits: tuple[Any, Any], cut: Any, mode: Rounding
) -> Any:
    """Round magnitudes toward zero, or to nearest, ties away from zero."""
    low_range = LowRange(builder, x, *limits)
    # A sum below the limit stands for next to nothing, and would be cut in another place.
    bits = extreme(builder, ">", low_range.lifted, bits_of(builder, limits[0]))
    unit = builder.shl(filled(V32, 1), cut)
    if mode is Rounding.NEAREST_AWAY:
        bits = builder.add(bits, builder.lshr(unit, filled(V32, 1)))
    return low_range.lowered(builder.and_(bits, builder.neg(unit)))


def emit_moved(builder: ir.IRBuilder, arguments: Any, mode: Rounding) -> Any:
    """Write blocks rounded to formats with moved exponents, saturating."""
    cut = splat(builder, load(builder, arguments[5], I32, 4 * Word.CUT))

    def rounded(vector: Vector, state: list[Any]) -> tuple[Any, list[Any]]:
        magnitude = magnitude_of(builder, vector.x)
        limit, below, most = (vector.of_block(row, F32) for row in (LIMIT, BELOW, MOST))
        if mode is Rounding.NEAREST_EVEN:
            value = _to_even(builder, magnitude, limit, cut)
        else:
            value = _cut_off(builder, magnitude, (limit, below), cut, mode)
        return smaller(builder, value, most), state

    Vectors(builder, arguments).round(rounded, [])
    return index(1)


def emit_moved_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """The same by random bits; returns whether no decision is in doubt."""
    noise = Noise(builder, arguments[5], 2, arguments[7])

    def rounded(vector: Vector, state: list[Any]) -> tuple[Any, list[Any]]:
        limit, below, most = (vector.of_block(row, F32) for row in (LIMIT, BELOW, MOST))
        magnitude = magnitude_of(builder, vector.x)
        value, rest = noise.rounded(magnitude, (limit, below), vector.bits)
        return smaller(builder, value, most), [extreme(builder, ">", rest, state[0])]

    (largest,) = Vectors(builder, arguments).round(rounded, [filled(V32, 0)], has_noise=True)
    return noise.is_sure(largest)
