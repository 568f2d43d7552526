"""Vectors of elements that share a scale: what the ways of rounding blocks have in common.

Whatever is the same for a block lies in a row of words, one for each block. Loops go over vectors,
whatever the size of blocks, and look their words up in the rows.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from deephochuli.kernels._cpu_emit import (
    I32,
    I64,
    LANES,
    SIGN32,
    V32,
    VF,
    Loop,
    bits_of,
    either,
    filled,
    has_avx512,
    index,
    load,
    splat,
    store,
)
from deephochuli.kernels.rounding._constants import MOST_CARDS, N_PLACES, Word
from deephochuli.kernels.rounding._contract import GROUP

BLOCK = 2 * GROUP
"""Elements that are rounded on their way at a time: whole groups of random bits."""
ROW = 4 * (BLOCK // LANES)
"""Bytes of a row; no block is smaller than a vector."""
# Scratch of one thread, in bytes: keys of the rounds of Philox; random bits; a block of widened
# patterns or of what is rounded in place; quotients, and what they are rounded to; and of blocks
# the largest magnitudes, the steps and the rows. Of the cards of scales: steps, their reciprocals,
# and products and thresholds, a vector each.
S_KEYS, _START = 0, 256
S_RANDOM, S_COPY, S_QUOTIENTS, S_WIDE, S_TOPS, S_STEPS, S_ROWS, _CARDS = (
    _START + n * BLOCK for n in (0, 4, 12, 20, 28, 29, 30, 31)
)
S_SCALES, S_INVERSES, S_PRODUCTS, S_THRESHOLDS, SLOT_BYTES = (
    _CARDS + n * MOST_CARDS for n in (0, 8, 12, 12 + 4 * N_PLACES, 12 + 8 * N_PLACES)
)
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


@dataclass(frozen=True, slots=True)
class Vector:
    """Elements of one block, and their random bits where there are any."""

    x: Any
    bits: Any
    _builder: ir.IRBuilder
    _scratch: Any
    _number: Any

    def word(self, row: int, kind: Any) -> Any:
        """The block's word in a row."""
        skip = self._builder.shl(self._number, index(2))
        skip = self._builder.add(skip, index(S_ROWS + row * ROW))
        return load(self._builder, self._scratch, kind, skip)

    def of_block(self, row: int, kind: Any) -> Any:
        """The same, in all lanes."""
        return splat(self._builder, self.word(row, kind))


VectorRounding = Callable[[Vector, list[Any]], tuple[Any, list[Any]]]
"""Makes magnitudes of a vector, and the next state of a list of vectors."""


class Vectors:
    """The vectors of blocks, of a power of two of elements each.

    A few are loaded before the first of them is stored. What was not yet stored holds up loads from
    places whose addresses have the same last twelve bits; so a target that begins a little behind
    its source, in that sense, would cost a seventh of the time. It takes registers for all of them.
    """

    def __init__(self, builder: ir.IRBuilder, arguments: Any) -> None:
        """From the arguments of a loop for blocks."""
        self._source, self._target, n, block, self._scratch, _, self._random, _ = arguments
        self._builder, self._n = builder, vectors_of(builder, n)
        self._per_block = builder.cttz(block, ir.Constant(ir.IntType(1), 1))

    def round(
        self, rounded: VectorRounding, state: list[Any], *, has_noise: bool = False
    ) -> list[Any]:
        """Write what becomes of all vectors; the state behind the last one."""
        few = 4 if has_avx512() else 1
        many = self._builder.udiv(self._n, index(few))
        done = self._builder.mul(many, index(few))
        rest = self._builder.sub(self._n, done)
        for first, n, at_once in ((index(0), many, few), (done, rest, 1)):
            entry = self._builder.block
            with self._builder.if_then(self._builder.icmp_unsigned("!=", n, index(0))):
                loop = Loop(self._builder, n, state)
                at = self._builder.add(first, self._builder.mul(loop.index, index(at_once)))
                last = loop.close(self._turn(at, at_once, rounded, loop.state, has_noise))
                end = self._builder.block
            state = either(self._builder, (state, entry), (last, end))
        return state

    def _turn(
        self, first: Any, n: int, rounded: VectorRounding, state: list[Any], has_noise: bool
    ) -> list[Any]:
        numbers = [self._builder.add(first, index(i)) for i in range(n)]
        skips = [self._builder.mul(number, index(4 * LANES)) for number in numbers]
        vectors = [self._vector(*of, has_noise) for of in zip(numbers, skips, strict=True)]
        magnitudes = []
        for vector in vectors:
            magnitude, state = rounded(vector, state)
            magnitudes.append(magnitude)
        for vector, magnitude, skip in zip(vectors, magnitudes, skips, strict=True):
            self._store(magnitude, vector.x, skip)
        return state

    def _vector(self, number: Any, skip: Any, has_noise: bool) -> Vector:
        builder = self._builder
        x = load(builder, self._source, VF, skip)
        bits = load(builder, self._random, V32, skip) if has_noise else None
        element = builder.mul(number, index(LANES))
        return Vector(x, bits, builder, self._scratch, builder.lshr(element, self._per_block))

    def _store(self, magnitude: Any, x: Any, skip: Any) -> None:
        """Write magnitudes with the signs of x."""
        magnitude, x = (bits_of(self._builder, numbers) for numbers in (magnitude, x))
        signed = self._builder.or_(magnitude, self._builder.and_(x, filled(V32, SIGN32)))
        store(self._builder, signed, self._builder.add(self._target, skip), 0)


class LowRange:
    """Numbers below the smallest normal one of a format, cut at the bit that all are cut at.

    The smallest normal number is added to them, so that they are cut as it is, and taken away again
    after that. In truth the number just below it is added, half a unit less: so sums are rounded
    down, and only where they are an odd number of units, which are far below the cut, by a whole
    one. What is less than half a unit comes out as a number just below the smallest normal one.
    """

    def __init__(self, builder: ir.IRBuilder, x: Any, least: Any, below: Any) -> None:
        """Find out which ones are low.

        Args:
            builder: Where to write.
            x: Magnitudes.
            least: The smallest normal number.
            below: The number just below that.
        """
        self._builder, self._least = builder, least
        self._is_low = builder.fcmp_ordered("<", x, least)
        # Floats are chosen, and not patterns: so that becomes one instruction with the sum.
        lifted = builder.select(self._is_low, builder.fadd(x, below), x)
        self.lifted = bits_of(builder, lifted)

    def lowered(self, pattern: Any) -> Any:
        """The numbers that patterns stand for which were made from `lifted`."""
        x = number_of(self._builder, pattern)
        return self._builder.select(self._is_low, self._builder.fsub(x, self._least), x)


class Noise:
    """Stochastic rounding with as many random bits as binary32 has place for.

    No sum is larger than it should be. It is less than two units of its last place smaller in the
    low range, where some of the noise is left out too, and another one where the sum came out below
    the smallest normal number; and smaller by what lower halves of random bits may add, where these
    are left out. That decides nothing, unless what is cut off comes out close to its largest value.
    """

    def __init__(self, builder: ir.IRBuilder, table: Any, slack: int, left_out: Any) -> None:
        """Read what is common to all blocks.

        Args:
            builder: Where to write.
            table: Address of the words of the plan.
            slack: How many of the largest values of what is cut off leave rounding in doubt.
            left_out: The random bits that are left out, set.
        """
        cut, below = (load(builder, table, I32, 4 * at) for at in (Word.CUT, Word.BELOW))
        spare = builder.sub(ir.Constant(I32, 32), cut)
        # Noise without these bits is smaller by no more than these bits where noise is added.
        more = builder.lshr(builder.trunc(left_out, I32), spare)
        self._doubt = builder.sub(builder.sub(below, ir.Constant(I32, slack - 1)), more)
        self._below, self._spare = splat(builder, below), splat(builder, spare)
        self._builder = builder

    def rounded(self, x: Any, limits: tuple[Any, Any], bits: Any) -> tuple[Any, Any]:
        """Rounded magnitudes, and what was cut off.

        Args:
            x: Magnitudes.
            limits: The smallest normal number and the number just below it.
            bits: Random bits.
        """
        builder = self._builder
        low_range = LowRange(builder, x, *limits)
        sums = self.added(low_range.lifted, bits)
        value = low_range.lowered(builder.and_(sums, builder.not_(self._below)))
        return value, builder.and_(sums, self._below)

    def added(self, pattern: Any, bits: Any) -> Any:
        """The sums of patterns and random bits."""
        return self._builder.add(pattern, self._builder.lshr(bits, self._spare))

    def turned(self, sums: Any) -> Any:
        """The sums turned round: first what is cut off, and behind it what stays."""
        kind = ir.FunctionType(V32, [V32] * 3)
        name = f"llvm.fshl.v{LANES}i32"
        turn = cgutils.get_or_insert_function(self._builder.module, kind, name)
        return self._builder.call(turn, [sums, sums, self._spare])

    def rest_of(self, turned: Any) -> Any:
        """What is cut off."""
        return self._builder.lshr(turned, self._spare)

    def is_sure(self, most: Any) -> Any:
        """Whether nothing is in doubt, from the most that was cut off, lane by lane."""
        largest = reduced(self._builder, "umax", most)
        return self._builder.zext(self._builder.icmp_unsigned("<", largest, self._doubt), I64)


def number_of(builder: ir.IRBuilder, pattern: Any) -> Any:
    """Patterns as binary32 numbers."""
    return builder.bitcast(pattern, VF)


def magnitude_of(builder: ir.IRBuilder, x: Any) -> Any:
    """Numbers without their signs."""
    kind = ir.FunctionType(VF, [VF])
    name = f"llvm.fabs.v{LANES}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])


def smaller(builder: ir.IRBuilder, x: Any, y: Any) -> Any:
    """The smaller one of numbers, lane by lane; of a NaN and a number y."""
    return builder.select(builder.fcmp_ordered("<", x, y), x, y)
