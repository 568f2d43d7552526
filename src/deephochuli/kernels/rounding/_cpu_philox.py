"""Random bits by Philox4x32-10, as vector code.

Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. The state is kept in
words of 64 bits of which the lower half counts: so a product of two halves is one instruction, and
what is in the upper halves does no harm. Counters are dealt to vectors in turn, so that the words
of two vectors are put together in one instruction, and not narrowed.

In a group only the lowest word of the counter differs. What a round makes of the others alone is
one number for the group: of the first two rounds that is half.
"""

# Code generation handles LLVM values, for which llvmlite ships no types; compiled functions get
# their types from their callers.
# pyright: basic

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import I32, I64, Loop, filled, index, splat, store
from deephochuli.kernels._cpu_memory import p64
from deephochuli.kernels.rounding._contract import GROUP, LANES
from deephochuli.kernels.rounding._cpu_words import use_widest_vectors

u64 = np.uint64
LOW = 0xFFFFFFFF
ROUND_A, ROUND_B = 0xD2511F53, 0xCD9E8D57
WEYL_A, WEYL_B = 0x9E3779B9, 0xBB67AE85
N_ROUNDS, N_LANES, N_GROUP = 10, LANES, GROUP
# Words of a vector, and vectors that are in flight together: enough to hide the latency of a
# product, few enough to stay in registers.
WIDTH, N_VECTORS = 8, 4
STRIDE = WIDTH * N_VECTORS
_V64, _V32 = ir.VectorType(I64, WIDTH), ir.VectorType(I32, 2 * WIDTH)


def _times(builder: ir.IRBuilder, x: Any, factor: int) -> Any:
    """The 64 bits of the lower half of x times a factor."""
    kind = x.type
    low, by = (filled(kind, v) if kind == _V64 else index(v) for v in (LOW, factor))
    return builder.mul(builder.and_(x, low), by)


def _upper(builder: ir.IRBuilder, x: Any) -> Any:
    return builder.lshr(x, filled(_V64, 32) if x.type == _V64 else index(32))


def _xor(builder: ir.IRBuilder, *words: Any) -> Any:
    """Of numbers and vectors: numbers first, and a vector where there is one."""
    numbers = [word for word in words if word.type == I64]
    vectors = [word for word in words if word.type == _V64]
    found = None
    for number in numbers:
        found = number if found is None else builder.xor(found, number)
    if vectors and found is not None:
        found = splat(builder, found, WIDTH)
    for vector in vectors:
        found = vector if found is None else builder.xor(found, vector)
    return found


def _round(builder: ir.IRBuilder, state: list[Any], key: tuple[Any, Any]) -> list[Any]:
    """One round; what of the state is a number stays a number as long as it can."""
    a, b, c, d = state
    p, q = _times(builder, a, ROUND_A), _times(builder, c, ROUND_B)
    first = _xor(builder, b, key[0], _upper(builder, q))
    second = _xor(builder, d, key[1], _upper(builder, p))
    return [first, q, second, p]


def _paired(builder: ir.IRBuilder, even: Any, odd: Any) -> Any:
    """The lower halves of two vectors in turn."""
    order = [each for i in range(0, 2 * WIDTH, 2) for each in (i, i + 2 * WIDTH)]
    x, y = builder.bitcast(even, _V32), builder.bitcast(odd, _V32)
    return builder.shuffle_vector(x, y, ir.Constant(_V32, order))


def _keys(builder: ir.IRBuilder, k0: Any, k1: Any) -> list[tuple[Any, Any]]:
    """The keys of all rounds."""
    return [
        (builder.add(k0, index(i * WEYL_A)), builder.add(k1, index(i * WEYL_B)))
        for i in range(N_ROUNDS)
    ]


def _emit_group(builder: ir.IRBuilder, arguments: Any) -> None:
    out, n, group, k0, k1, x2, x3 = arguments
    first, keys = builder.mul(group, index(N_LANES)), _keys(builder, k0, k1)
    upper = builder.lshr(first, index(32))
    loop = Loop(builder, n, [])
    lane = builder.mul(loop.index, index(STRIDE))
    states: list[list[Any]] = []
    for vector in range(N_VECTORS):
        pair, odd = divmod(vector, 2)
        steps = [2 * WIDTH * pair + odd + 2 * i for i in range(WIDTH)]
        counter = builder.add(
            splat(builder, builder.add(first, lane), WIDTH), ir.Constant(_V64, steps)
        )
        states.append([counter, upper, x2, x3])
    for key in keys:
        states = [_round(builder, state, key) for state in states]
    at = builder.add(out, builder.shl(lane, index(2)))
    for vector in range(0, N_VECTORS, 2):
        for word, (even, odd) in enumerate(zip(states[vector], states[vector + 1], strict=True)):
            offset = 4 * (word * N_LANES + vector * WIDTH)
            store(builder, _paired(builder, even, odd), at, offset)
    loop.close([])


@intrinsic
def fill_group(
    typing_context: Any, out: Any, n: Any, group: Any, k0: Any, k1: Any, x2: Any, x3: Any
) -> Any:
    """Write the words of the first counters of a group, `n` times `STRIDE` of them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_group(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, *[types.uint64] * 5), generate


def fill(random_at, first_group, n, key_at):
    """Write the random bits of `n` elements from the beginning of a group on.

    Up to the end of a group more may be written; the memory must have room for it.
    """
    key, group = p64(key_at), u64(first_group)
    use_widest_vectors()
    for start in range(0, n, N_GROUP):
        lanes = min(n - start, N_LANES)
        turns = (lanes + STRIDE - 1) // STRIDE
        out = random_at + u64(4 * start)
        fill_group(out, turns, group, key[0], key[1], key[2], key[3])
        group += u64(1)
