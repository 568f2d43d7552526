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
    VF,
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
    source, target, n, block, scratch, table = arguments[:6]
    cut = splat(builder, load(builder, table, I32, 4 * Word.CUT))
    vectors = Vectors(builder, n, block, scratch, [])
    x = load(builder, source, VF, vectors.skip)
    magnitude = magnitude_of(builder, x)
    limit, below, most = (vectors.of_block(row, F32) for row in (LIMIT, BELOW, MOST))
    if mode is Rounding.NEAREST_EVEN:
        value = _to_even(builder, magnitude, limit, cut)
    else:
        value = _cut_off(builder, magnitude, (limit, below), cut, mode)
    vectors.store(smaller(builder, value, most), x, target)
    vectors.close([])
    return index(1)


def emit_moved_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """The same by random bits; returns whether no decision is in doubt."""
    source, target, n, block, scratch, table, random, left_out = arguments
    noise = Noise(builder, table, 2, left_out)
    vectors = Vectors(builder, n, block, scratch, [filled(V32, 0)])
    x, bits = load(builder, source, VF, vectors.skip), load(builder, random, V32, vectors.skip)
    limit, below, most = (vectors.of_block(row, F32) for row in (LIMIT, BELOW, MOST))
    value, rest = noise.rounded(magnitude_of(builder, x), (limit, below), bits)
    vectors.store(smaller(builder, value, most), x, target)
    (largest,) = vectors.close([extreme(builder, ">", rest, vectors.state[0])])
    return noise.is_sure(largest)
