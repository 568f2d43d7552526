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
    I32,
    I64,
    V32,
    bits_of,
    filled,
    index,
    load,
    splat,
)
from deephochuli.kernels.rounding._constants import Word
from deephochuli.kernels.rounding._cpu_blocks import (
    POSITIVE,
    Noise,
    Vectors,
    extreme,
    number_of,
    reduced,
)

LIMIT, MOST = range(2)
"""Rows: patterns of the smallest normal number of a block, and of the largest one."""
_STORED = 23


def _lower(builder: ir.IRBuilder, pattern: Any, binades: int) -> Any:
    """A power of two so many binades below another one."""
    return number_of(builder, builder.sub(pattern, filled(V32, binades << _STORED)))


def _to_nearest(builder: ir.IRBuilder, x: Any, limit: Any, cut: Any, mode: Rounding) -> Any:
    """Round magnitudes, given by patterns, without random bits."""
    power = extreme(builder, ">", builder.and_(x, filled(V32, EXPONENT32)), limit)
    summand = builder.add(power, cut)
    number, large = number_of(builder, x), number_of(builder, summand)
    even = builder.fsub(builder.fadd(number, large), large)
    if mode is Rounding.NEAREST_EVEN:
        return bits_of(builder, even)
    unit = _lower(builder, summand, _STORED)
    if mode is Rounding.TOWARD_ZERO:
        is_above = builder.fcmp_ordered(">", even, number)
        return bits_of(builder, builder.select(is_above, builder.fsub(even, unit), even))
    # The difference is exact, and half a unit where a tie went down.
    half = _lower(builder, summand, _STORED + 1)
    is_tie = builder.fcmp_ordered("==", builder.fsub(number, even), half)
    return bits_of(builder, builder.select(is_tie, builder.fadd(even, unit), even))


def emit_moved(builder: ir.IRBuilder, arguments: Any, mode: Rounding) -> Any:
    """Write blocks rounded to formats with moved exponents, saturating."""
    source, target, n, block, scratch, table, _ = arguments
    cut = splat(builder, load(builder, table, I32, 4 * Word.CUT))
    cut = builder.shl(cut, filled(V32, _STORED))
    vectors = Vectors(builder, n, block, scratch, [])
    x = load(builder, source, V32, vectors.skip)
    magnitude = builder.and_(x, filled(V32, POSITIVE))
    value = _to_nearest(builder, magnitude, vectors.of_block(LIMIT, I32), cut, mode)
    value = extreme(builder, "<", value, vectors.of_block(MOST, I32))
    vectors.store(value, x, target)
    vectors.close([])
    return index(1)


def emit_moved_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """The same by random bits; returns whether no decision is in doubt."""
    source, target, n, block, scratch, table, random = arguments
    noise = Noise(builder, table, slack=1)
    vectors = Vectors(builder, n, block, scratch, [filled(V32, POSITIVE)])
    x, bits = (load(builder, at, V32, vectors.skip) for at in (source, random))
    magnitude = builder.and_(x, filled(V32, POSITIVE))
    value, apart = noise.rounded(magnitude, vectors.of_block(LIMIT, I32), bits)
    value = extreme(builder, "<", value, vectors.of_block(MOST, I32))
    vectors.store(value, x, target)
    (closest,) = vectors.close([extreme(builder, "<", apart, vectors.state[0])])
    return builder.zext(reduced(builder, "umin", closest), I64)
