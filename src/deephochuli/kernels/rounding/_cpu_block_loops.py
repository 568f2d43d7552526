"""The loops for blocks of elements that share a scale."""

# Code generation handles LLVM values, for which llvmlite ships no types; compiled functions get
# their types from their callers.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any

from numba import types
from numba.extending import intrinsic

from deephochuli.formats import Rounding
from deephochuli.kernels.rounding._cpu_powers import emit_moved, emit_moved_with_noise
from deephochuli.kernels.rounding._cpu_quotients import emit_quotients, emit_quotients_with_noise
from deephochuli.kernels.rounding._cpu_words import use_widest_vectors


class Way(IntEnum):
    """How blocks are rounded."""

    MOVED_EVEN = 0
    MOVED_AWAY = 1
    MOVED_ZERO = 2
    MOVED_NOISE = 3
    QUOTIENTS = 4
    QUOTIENTS_NOISE = 5


_MOVED = {
    Rounding.NEAREST_EVEN: Way.MOVED_EVEN,
    Rounding.NEAREST_AWAY: Way.MOVED_AWAY,
    Rounding.TOWARD_ZERO: Way.MOVED_ZERO,
    Rounding.STOCHASTIC: Way.MOVED_NOISE,
}
_EMIT: dict[Way, Callable[..., Any]] = {
    Way.MOVED_EVEN: partial(emit_moved, mode=Rounding.NEAREST_EVEN),
    Way.MOVED_AWAY: partial(emit_moved, mode=Rounding.NEAREST_AWAY),
    Way.MOVED_ZERO: partial(emit_moved, mode=Rounding.TOWARD_ZERO),
    Way.MOVED_NOISE: emit_moved_with_noise,
    Way.QUOTIENTS: emit_quotients,
    Way.QUOTIENTS_NOISE: emit_quotients_with_noise,
}


def way_of(mode: Rounding, *, has_power_of_two_scale: bool) -> Way:
    """How blocks are rounded in a mode; `KeyError` for modes that have no quick way."""
    if has_power_of_two_scale:
        return _MOVED[mode]
    return Way.QUOTIENTS_NOISE if mode is Rounding.STOCHASTIC else Way.QUOTIENTS


@intrinsic(prefer_literal=True)
def _round(
    typing_context: Any,
    way: Any,
    source: Any,
    target: Any,
    n: Any,
    block: Any,
    scratch: Any,
    words: Any,
    random: Any,
    left_out: Any,
) -> Any:
    """Write rounded blocks."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _EMIT[Way(way.literal_value)](builder, arguments[1:])

    addresses, counts = [types.uint64] * 2, [types.int64] * 2
    return types.int64(way, *addresses, *counts, *[types.uint64] * 4), generate


def make_block_loop(way: Way) -> Callable[..., int]:
    """The loop for one way of rounding; it returns 0 where random bits left a decision in doubt."""
    constant = int(way)

    def round_blocks(source, target, n, block, scratch, words, random, left_out):
        use_widest_vectors()
        return _round(constant, source, target, n, block, scratch, words, random, left_out)

    return round_blocks
