"""Vectors of elements that share a scale: what the ways of rounding blocks have in common.

Whatever is the same for a block lies in a row of words, one for each block. Loops go over vectors,
whatever the size of blocks, and look their words up in the rows.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from deephochuli.kernels._cpu_emit import (
    I32,
    LANES,
    SIGN32,
    V32,
    VF,
    Loop,
    bits_of,
    filled,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import Word
from deephochuli.kernels.rounding._contract import GROUP

BLOCK = 2 * GROUP
"""Elements that are rounded on their way at a time: whole groups of random bits."""
ROW = 4 * (BLOCK // LANES)
"""Bytes of a row; no block is smaller than a vector."""
# Scratch of one thread, in bytes: keys of the rounds of Philox; random bits; a block of widened
# patterns or of what is rounded in place; quotients, and what they are rounded to; and of blocks
# the largest magnitudes, the scales, the steps, the rows, and cards of eight words.
S_KEYS, _START = 0, 256
S_RANDOM, S_COPY, S_QUOTIENTS, S_WIDE, S_TOPS, S_SCALES, S_STEPS, S_ROWS, S_CARDS, SLOT_BYTES = (
    _START + n * BLOCK for n in (0, 4, 12, 20, 28, 29, 30, 31, 32, 34)
)
CARD = 32
"""Bytes of a card."""
POSITIVE = SIGN32 - 1


def extreme(builder: ir.IRBuilder, relation: str, x: Any, y: Any) -> Any:
    """The larger (">") or smaller ("<") of unsigned integers, lane by lane."""
    return builder.select(builder.icmp_unsigned(relation, x, y), x, y)


def reduced(builder: ir.IRBuilder, what: str, x: Any) -> Any:
    """The largest ("umax") or smallest ("umin") lane."""
    kind = ir.FunctionType(I32, [V32])
    name = f"llvm.vector.reduce.{what}.v{LANES}i32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])


def vectors_of(builder: ir.IRBuilder, n: Any) -> Any:
    """How many vectors some elements are."""
    return builder.lshr(n, index(LANES.bit_length() - 1))


class Vectors:
    """A loop over the vectors of blocks."""

    def __init__(
        self, builder: ir.IRBuilder, n: Any, block: Any, scratch: Any, state: list[Any]
    ) -> None:
        """Open the body; a block has a power of two of elements."""
        per_block = builder.cttz(block, ir.Constant(ir.IntType(1), 1))
        loop = Loop(builder, vectors_of(builder, n), state)
        first = builder.mul(loop.index, index(LANES))
        self._builder, self._scratch = builder, scratch
        self.state, self.close = loop.state, loop.close
        self.skip, self.number = builder.shl(first, index(2)), builder.lshr(first, per_block)

    def of_block(self, row: int, kind: Any) -> Any:
        """The block's word in a row, in all lanes."""
        skip = self._builder.shl(self.number, index(2))
        skip = self._builder.add(skip, index(S_ROWS + row * ROW))
        return splat(self._builder, load(self._builder, self._scratch, kind, skip))

    def on_card(self, place: int) -> Any:
        """A word on the block's card, in all lanes."""
        skip = self._builder.mul(self.number, index(CARD))
        skip = self._builder.add(skip, index(S_CARDS + 4 * place))
        return splat(self._builder, load(self._builder, self._scratch, I32, skip))

    def store(self, magnitude: Any, x: Any, target: Any) -> None:
        """Write magnitudes with the signs of x."""
        signed = self._builder.or_(magnitude, self._builder.and_(x, filled(V32, SIGN32)))
        store(self._builder, signed, self._builder.add(target, self.skip), 0)


class Noise:
    """Stochastic rounding with as many random bits as binary32 has place for.

    In the low range the smallest normal number is added, so that it is cut at the same bit as the
    normal range. There the sum is up to half a unit of its last place wrong, and up to one unit of
    noise is left out: that decides nothing, unless what is cut off comes out close to where
    rounding turns.
    """

    def __init__(self, builder: ir.IRBuilder, table: Any, slack: int) -> None:
        """Read what is common to all blocks.

        Args:
            builder: Where to write.
            table: Address of the words of the plan.
            slack: Up to how many units away from where it turns rounding is in doubt.
        """
        words = [load(builder, table, I32, 4 * at) for at in (Word.CUT, Word.BELOW)]
        cut, self._below = (splat(builder, each) for each in words)
        self._spare = builder.sub(filled(V32, 32), cut)
        self._builder, self._slack = builder, slack

    def rounded(self, x: Any, limit: Any, bits: Any) -> tuple[Any, Any]:
        """Patterns of rounded magnitudes, and how far from doubt they are: 0 is in doubt.

        Args:
            x: Patterns of magnitudes.
            limit: Patterns of the smallest normal number.
            bits: Random bits.
        """
        builder, least = self._builder, number_of(self._builder, limit)
        is_low = builder.icmp_unsigned("<", x, limit)
        # Floats are chosen, and not patterns: so that becomes one instruction with the sum.
        x = number_of(builder, x)
        lifted = builder.select(is_low, builder.fadd(x, least), x)
        sums = builder.add(bits_of(builder, lifted), builder.lshr(bits, self._spare))
        far = builder.and_(self._below, filled(V32, 0x100000000 - 2 * self._slack))
        apart = builder.and_(builder.add(sums, filled(V32, self._slack)), far)
        value = number_of(builder, builder.and_(sums, builder.not_(self._below)))
        value = builder.select(is_low, builder.fsub(value, least), value)
        return bits_of(builder, value), apart


def number_of(builder: ir.IRBuilder, pattern: Any) -> Any:
    """Patterns as binary32 numbers."""
    return builder.bitcast(pattern, VF)
