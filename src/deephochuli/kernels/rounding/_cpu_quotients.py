"""Rounding of blocks whose scale has a significand: x over a step s, to a format of few values.

Steps are binary64 numbers of up to 28 bits, elements binary32 numbers. The product of x and a
reciprocal in binary32, made smaller by 2^-22, tells where between the values of the format x / s
lies; the value is looked up on the card of the scale, where its product with the step is, exact and
rounded once. Nothing is divided.

Three times that product is rounded, each time by up to 2^-24, so it is too small by 2^-24 to
7 2^-24: less than 7 units in the last place. To nearest, and toward zero, that may give the value
below the right one; so x is compared with the product of the step and the threshold T above that
value. T has 3 bits, and x / s >= T just where x >= T s, which is exact in binary64; on the card it
stands rounded up to binary32, or as the next number above where the threshold itself still belongs
to the lower value.

Stochastic rounding compares with the quotient in binary64, rounded. Where what is cut off comes out
within 8 of where it turns, the decision is in doubt, and the block must be rounded in binary64.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir

from deephochuli.kernels._cpu_emit import (
    F32,
    I32,
    I64,
    V32,
    VF,
    bits_of,
    filled,
    index,
    load,
    looked_up,
    splat,
)
from deephochuli.kernels.rounding._constants import N_PLACES, Word
from deephochuli.kernels.rounding._cpu_blocks import (
    S_INVERSES,
    S_PRODUCTS,
    S_THRESHOLDS,
    Noise,
    Vector,
    Vectors,
    extreme,
    magnitude_of,
    number_of,
    smaller,
)

CARD = 0
"""Row: the number of a block's card."""


class _Places:
    """Where numbers of a vector lie between the values of the format, and the card of its block."""

    def __init__(self, builder: ir.IRBuilder, scratch: Any, table: Any) -> None:
        """Read what is common to all blocks, from the words of the plan."""
        limit, most, cut = (
            load(builder, table, I32, 4 * at) for at in (Word.LOW_LIMIT, Word.MAX, Word.CUT)
        )
        below = builder.sub(limit, ir.Constant(I32, 1))
        self._below, self._most = (number_of(builder, splat(builder, x)) for x in (below, most))
        self._builder, self._scratch, self._cut = builder, scratch, splat(builder, cut)

    def card_of(self, vector: Vector) -> Any:
        """The number of a block's card."""
        return self._builder.zext(vector.word(CARD, I32), I64)

    def quotient(self, magnitude: Any, card: Any) -> Any:
        """Magnitudes over the step, a little too small."""
        builder = self._builder
        skip = builder.add(builder.shl(card, index(2)), index(S_INVERSES))
        return builder.fmul(magnitude, splat(builder, load(builder, self._scratch, F32, skip)))

    def cut_to_largest(self, quotient: Any) -> Any:
        """Quotients, or the largest magnitude of the format where they are larger."""
        return smaller(self._builder, quotient, self._most)

    def lifted(self, quotient: Any) -> Any:
        """Patterns of quotients, doubled or, where they are low, with the least number added.

        What is added is the number just below that, as in `LowRange`.
        """
        builder = self._builder
        is_low = builder.fcmp_ordered("<", quotient, self._below)
        more = builder.select(is_low, self._below, quotient)
        return bits_of(builder, builder.fadd(quotient, more))

    def place_of(self, pattern: Any) -> Any:
        """The places of lifted patterns."""
        return self._builder.lshr(pattern, self._cut)

    def on_card(self, card: Any, part: int, place: Any) -> Any:
        """What a part of a card has for places."""
        bits = N_PLACES.bit_length() + 1
        skip = self._builder.add(self._builder.shl(card, index(bits)), index(part))
        table = load(self._builder, self._scratch, VF, skip)
        return looked_up(self._builder, table, place)


def emit_quotients(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by thresholds."""
    places = _Places(builder, *arguments[4:6])

    def rounded(vector: Vector, state: list[Any]) -> tuple[Any, list[Any]]:
        magnitude, card = magnitude_of(builder, vector.x), places.card_of(vector)
        quotient = places.cut_to_largest(places.quotient(magnitude, card))
        place = places.place_of(places.lifted(quotient))
        threshold = places.on_card(card, S_THRESHOLDS, place)
        is_above = builder.fcmp_ordered(">=", magnitude, threshold)
        place = builder.select(is_above, builder.add(place, filled(V32, 1)), place)
        return places.on_card(card, S_PRODUCTS, place), state

    Vectors(builder, arguments).round(rounded, [])
    return index(1)


def emit_quotients_with_noise(builder: ir.IRBuilder, arguments: Any) -> Any:
    """Write blocks rounded by random bits; returns whether no decision is in doubt."""
    table, left_out = arguments[5], arguments[7]
    places, noise = _Places(builder, *arguments[4:6]), Noise(builder, table, 8, left_out)

    def rounded(vector: Vector, state: list[Any]) -> tuple[Any, list[Any]]:
        card = places.card_of(vector)
        quotient = places.quotient(magnitude_of(builder, vector.x), card)
        turned = noise.turned(noise.added(places.lifted(quotient), vector.bits))
        value = places.on_card(card, S_PRODUCTS, turned)
        return value, [extreme(builder, ">", turned, state[0])]

    (largest,) = Vectors(builder, arguments).round(rounded, [filled(V32, 0)], has_noise=True)
    return noise.is_sure(noise.rest_of(largest))
