"""Random bits by Philox4x32-10, as vector code.

Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. The state is kept in
words of 64 bits of which the lower half counts: so a product of two halves is one instruction, and
what is in the upper halves does no harm. Counters are dealt to vectors in turn, so that two vectors
are put together again by one shuffle. In the last round what is mixed is put together first.

In a group only the lowest word of the counter differs. What a round makes of the others alone is
one number for the group: of the first two rounds that is half. And the first product of the next
counter is that of the one before and the factor.

Each half of a word is one half of the random bits of an element. Upper halves are written alone,
and lower ones put to them where they are asked for.
"""

# Code generation handles LLVM values, for which llvmlite ships no types; compiled functions get
# their types from their callers.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import I32, I64, Loop, filled, index, load, splat, store
from deephochuli.kernels._cpu_memory import p64
from deephochuli.kernels.rounding._contract import GROUP, HALF, LANES
from deephochuli.kernels.rounding._cpu_words import use_widest_vectors

u64 = np.uint64
LOW = 0xFFFFFFFF
ROUND_A, ROUND_B = 0xD2511F53, 0xCD9E8D57
WEYL_A, WEYL_B = 0x9E3779B9, 0xBB67AE85
N_ROUNDS, N_LANES, N_GROUP, N_HALVES = 10, LANES, GROUP, GROUP // LANES
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


def _key(builder: ir.IRBuilder, keys: Any, i: int) -> tuple[Any, Any]:
    """The key of a round, read where it is used: in registers, keys would leave too few of them."""
    return load(builder, keys, I64, 16 * i), load(builder, keys, I64, 16 * i + 8)


def _products(builder: ir.IRBuilder, state: list[Any]) -> tuple[Any, Any]:
    """What a round makes of its third and its first word."""
    return _times(builder, state[2], ROUND_B), _times(builder, state[0], ROUND_A)


def _mixed(
    builder: ir.IRBuilder, products: tuple[Any, Any], b: Any, d: Any, key: tuple[Any, Any]
) -> list[Any]:
    """The state after a round, from its products and the words that these leave out.

    What is a number, and no vector, stays one as long as it can.
    """
    q, p = products
    first = _xor(builder, b, key[0], _upper(builder, q))
    second = _xor(builder, d, key[1], _upper(builder, p))
    return [first, q, second, p]


def _paired(builder: ir.IRBuilder, vectors: tuple[Any, Any], half: int) -> Any:
    """The lower (0) or upper (1) halves of two vectors in turn."""
    order = [lane - lane % 2 + half + 2 * WIDTH * (lane % 2) for lane in range(2 * WIDTH)]
    words = (builder.bitcast(vector, _V32) for vector in vectors)
    return builder.shuffle_vector(*words, ir.Constant(_V32, order))


def _last_round(
    builder: ir.IRBuilder, states: list[list[Any]], key: tuple[Any, Any]
) -> Iterator[Any]:
    """The last round of two vectors: the words of both, put together before they are mixed."""
    products = zip(*(_products(builder, state) for state in states), strict=True)
    for i, pair in enumerate(products):
        kept = tuple(state[2 * i + 1] for state in states)
        whole = splat(builder, builder.trunc(key[i], I32), 2 * WIDTH)
        upper, lower = _paired(builder, pair, 1), _paired(builder, kept, 0)
        yield builder.xor(builder.xor(upper, lower), whole)
        yield _paired(builder, pair, 0)


def _write_halves(
    builder: ir.IRBuilder, words: Any, at: Any, place: int, *, are_lower: bool
) -> None:
    """Write the lower and the upper half of words to a place and the next one."""
    half = filled(_V32, HALF)
    if are_lower:
        halves = builder.and_(words, filled(_V32, (1 << HALF) - 1)), builder.lshr(words, half)
    else:
        halves = builder.shl(words, half), builder.and_(words, filled(_V32, -1 << HALF))
    for i, bits in enumerate(halves):
        skip = 4 * (place + i * N_LANES)
        if are_lower:
            bits = builder.or_(load(builder, at, _V32, skip), bits)
        store(builder, bits, at, skip)


def _first_products(builder: ir.IRBuilder, first: Any) -> list[Any]:
    """The lowest words of counters times a factor, dealt to pairs of vectors in turn."""
    product = splat(builder, _times(builder, first, ROUND_A), WIDTH)
    found = []
    for vector in range(N_VECTORS):
        start = 2 * WIDTH * (vector // 2) + vector % 2
        steps = ir.Constant(_V64, [ROUND_A * (start + 2 * i) for i in range(WIDTH)])
        found.append(builder.add(product, steps))
    return found


def _fetch(builder: ir.IRBuilder, address: Any, *, is_written: bool) -> None:
    """Have the elements brought near whose bits these are: memory is idle meanwhile."""
    kind = ir.FunctionType(ir.VoidType(), [_POINTER, I32, I32, I32])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    how = [ir.Constant(I32, value) for value in (int(is_written), 3, 1)]
    for place in range(N_HALVES):
        for line in range(0, 4 * STRIDE, 64):
            at = builder.add(address, index(4 * place * N_LANES + line))
            builder.call(fetch, [builder.inttoptr(at, _POINTER), *how])


def _emit_group(builder: ir.IRBuilder, arguments: Any, *, are_lower: bool) -> None:
    out, n, group, keys, source, target = arguments
    first = builder.mul(group, index(N_LANES))
    upper = builder.lshr(first, index(32))
    last = [load(builder, keys, I64, 8 * at) for at in (STREAM, STREAM + 1)]
    loop = Loop(builder, n, [])
    lane = builder.mul(loop.index, index(STRIDE))
    skip = builder.shl(lane, index(2))
    if not are_lower:  # else all is near
        _fetch(builder, builder.add(source, skip), is_written=False)
        _fetch(builder, builder.add(target, skip), is_written=True)
    q, key = _times(builder, last[0], ROUND_B), _key(builder, keys, 0)
    products = _first_products(builder, builder.add(first, lane))
    states = [_mixed(builder, (q, p), upper, last[1], key) for p in products]
    for i in range(1, N_ROUNDS - 1):
        key = _key(builder, keys, i)
        states = [_mixed(builder, _products(builder, s), s[1], s[3], key) for s in states]
    key, at = _key(builder, keys, N_ROUNDS - 1), builder.add(out, skip)
    for vector in range(0, N_VECTORS, 2):
        words = _last_round(builder, states[vector : vector + 2], key)
        for i, word in enumerate(words):
            place = 2 * i * N_LANES + vector * WIDTH
            _write_halves(builder, word, at, place, are_lower=are_lower)
    loop.close([])


@intrinsic(prefer_literal=True)
def _fill_group(
    typing_context: Any,
    are_lower: Any,
    out: Any,
    n: Any,
    group: Any,
    keys: Any,
    source: Any,
    target: Any,
) -> Any:
    """Write the halves of the first counters of a group, `n` times `STRIDE` of them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit_group(builder, arguments[1:], are_lower=bool(are_lower.literal_value))
        return context.get_dummy_value()

    return types.void(are_lower, types.uint64, types.int64, *[types.uint64] * 4), generate


def expand(key_at, keys_at):
    """Write the keys of all rounds and what stays of the counter, from the four words of a key."""
    key, keys = p64(key_at), p64(keys_at)
    for i in range(N_ROUNDS):
        keys[2 * i] = key[0] + u64(i * WEYL_A)
        keys[2 * i + 1] = key[1] + u64(i * WEYL_B)
    keys[STREAM], keys[STREAM + 1] = key[2], key[3]


def make_fill(*, are_lower: bool) -> Callable[..., None]:
    """The function that makes one half of random bits, and either writes it or puts it to that."""
    constant = int(are_lower)

    def fill(random_at, first_group, n, keys_at, source_at, target_at):
        group = u64(first_group)
        use_widest_vectors()
        for start in range(0, n, N_GROUP):
            lanes, skip = min(n - start, N_LANES), u64(4 * start)
            turns, random = (lanes + STRIDE - 1) // STRIDE, random_at + skip
            source, target = source_at + skip, target_at + skip
            _fill_group(constant, random, turns, group, keys_at, source, target)
            group += u64(1)

    return fill
