"""Random bits by Philox4x32-10, as vector code.

Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. The state is kept in
words of 64 bits of which the lower half counts: so a product of two halves is one instruction, and
what is in the upper halves does no harm. Counters are dealt to vectors in turn, so that the words
of two vectors are put together again by a shift and a blend.

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
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import I32, I64, Loop, filled, index, load, splat, store
from deephochuli.kernels._cpu_memory import p64
from deephochuli.kernels.rounding._contract import GROUP, LANES
from deephochuli.kernels.rounding._cpu_words import use_widest_vectors

u64 = np.uint64
LOW = 0xFFFFFFFF
ROUND_A, ROUND_B = 0xD2511F53, 0xCD9E8D57
WEYL_A, WEYL_B = 0x9E3779B9, 0xBB67AE85
N_ROUNDS, N_LANES, N_GROUP = 10, LANES, GROUP
# Where the keys of the rounds end and the stream begins, in words.
STREAM = 2 * N_ROUNDS
# Words of a vector, and vectors that are in flight together: enough to hide the latency of a
# product, few enough to stay in registers.
WIDTH, N_VECTORS = 8, 4
STRIDE = WIDTH * N_VECTORS
_V64, _V32 = ir.VectorType(I64, WIDTH), ir.VectorType(I32, 2 * WIDTH)
_POINTER = ir.IntType(8).as_pointer()


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
    lower = builder.bitcast(even, _V32)
    upper = builder.bitcast(builder.shl(odd, filled(_V64, 32)), _V32)
    order = [lane + 2 * WIDTH * (lane % 2) for lane in range(2 * WIDTH)]
    return builder.shuffle_vector(lower, upper, ir.Constant(_V32, order))


def _counters(builder: ir.IRBuilder, first: Any) -> list[Any]:
    """As many counters as are in flight together, dealt to pairs of vectors in turn."""
    found = []
    for vector in range(N_VECTORS):
        start = 2 * WIDTH * (vector // 2) + vector % 2
        steps = ir.Constant(_V64, [start + 2 * i for i in range(WIDTH)])
        found.append(builder.add(splat(builder, first, WIDTH), steps))
    return found


def _fetch(builder: ir.IRBuilder, address: Any, *, is_written: bool) -> None:
    """Have the elements brought near whose bits these are: memory is idle meanwhile."""
    kind = ir.FunctionType(ir.VoidType(), [_POINTER, I32, I32, I32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    how = [ir.Constant(I32, value) for value in (int(is_written), 3, 1)]
    for word in range(4):
        for line in range(0, 4 * STRIDE, 64):
            at = builder.add(address, index(4 * word * N_LANES + line))
            builder.call(fetch, [builder.inttoptr(at, _POINTER), *how])


def _emit_group(builder: ir.IRBuilder, arguments: Any) -> None:
    out, n, group, keys, source, target = arguments
    first = builder.mul(group, index(N_LANES))
    upper = builder.lshr(first, index(32))
    last = [load(builder, keys, I64, 8 * at) for at in (STREAM, STREAM + 1)]
    loop = Loop(builder, n, [])
    lane = builder.mul(loop.index, index(STRIDE))
    skip = builder.shl(lane, index(2))
    for place, is_written in ((source, False), (target, True)):
        _fetch(builder, builder.add(place, skip), is_written=is_written)
    states = [[x, upper, *last] for x in _counters(builder, builder.add(first, lane))]
    for i in range(N_ROUNDS):
        # Keys are read where they are used: held in registers, they would leave too few of them.
        key = load(builder, keys, I64, 16 * i), load(builder, keys, I64, 16 * i + 8)
        states = [_round(builder, state, key) for state in states]
    at = builder.add(out, skip)
    for vector in range(0, N_VECTORS, 2):
        for word, pair in enumerate(zip(states[vector], states[vector + 1], strict=True)):
            offset = 4 * (word * N_LANES + vector * WIDTH)
            store(builder, _paired(builder, *pair), at, offset)
    loop.close([])


@intrinsic
def fill_group(
    typing_context: Any, out: Any, n: Any, group: Any, keys: Any, source: Any, target: Any
) -> Any:
    """Write the words of the first counters of a group, `n` times `STRIDE` of them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_group(builder, arguments)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, *[types.uint64] * 4), generate


def expand(key_at, keys_at):
    """Write the keys of all rounds and what stays of the counter, from the four words of a key."""
    key, keys = p64(key_at), p64(keys_at)
    for i in range(N_ROUNDS):
        keys[2 * i] = key[0] + u64(i * WEYL_A)
        keys[2 * i + 1] = key[1] + u64(i * WEYL_B)
    keys[STREAM], keys[STREAM + 1] = key[2], key[3]


def fill(random_at, first_group, n, keys_at, source_at, target_at):
    """Write the random bits of `n` elements from the beginning of a group on.

    Up to the end of a group more may be written; the memory must have room for it.

    Args:
        random_at: Address of the bits.
        first_group: Number of the group.
        n: Elements.
        keys_at: Address of what `expand` has written.
        source_at: Address of the elements.
        target_at: Address of what they will be rounded to.
    """
    group = u64(first_group)
    use_widest_vectors()
    for start in range(0, n, N_GROUP):
        lanes, skip = min(n - start, N_LANES), u64(4 * start)
        turns = (lanes + STRIDE - 1) // STRIDE
        fill_group(random_at + skip, turns, group, keys_at, source_at + skip, target_at + skip)
        group += u64(1)
