"""Compiled: on which sides of zero the units of rows are, one bit a unit.

Sides of two rows are compared 64 units at a time; and which units changed theirs is read off the
bits.
"""

# Code generation handles LLVM values, for which llvmlite ships no types; compiled functions get
# their types from their callers.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels import _cpu_emit as emit
from deephochuli.pieces._loops import INNER
from deephochuli.pieces._sparse import LANES, Sums, in_bytes, vector_at

BITS = 64
"""Units of a word; units behind the last one are on no side."""
_VECTOR = ir.VectorType(emit.F64, LANES)
_MASK = ir.IntType(LANES)
_ON, _NEAR = 1, 2


@nb.njit(**INNER)
def words_of(width: Any) -> Any:
    """How many words there are for a row of so many columns."""
    return (width + BITS - 1) // BITS


@nb.njit(**INNER)
def write(z: Any, bounds: Any, most: Any, slack: Any, p: Any, on: Any, off: Any) -> Any:
    """Write the sides of the units of row p.

    Args:
        z: The rows.
        bounds: The error of the row, and what `_state.Entries` calls `unit` and `floor`: it bounds
            the error of each entry.
        most: The largest `unit`, the largest `floor`.
        slack: What these bounds are multiplied by.
        p: Number of the row.
        on: Where to write which units are above zero, shape (rows, words).
        off: Which are below.

    Returns:
        (1 if any is above zero, else 0; how many are within their error of it).
    """
    error, unit, floor = bounds
    (error, unit, floor), (widest, highest) = bounds, most
    n_words, n = on.shape[1], z.shape[1]
    for w in range(n // BITS, n_words):  # not all bits of these are written
        on[p, w] = off[p, w] = np.uint64(0)
    to = on.ctypes.data + 8 * n_words * p, off.ctypes.data + 8 * n_words * p
    far = (error * widest + highest) * slack
    found, n_near = _write(z.ctypes.data + 8 * n * p, far, to, n // LANES), 0
    if found & _NEAR:
        for j in range(n):
            n_near += abs(z[p, j]) <= (error * unit[j] + floor[j]) * slack
    return found & _ON, n_near


@intrinsic
def _writing(context: Any, at: Any, far: Any, to: Any, n_vectors: Any) -> Any:
    """Write sides; `_ON` if any number is above zero, and `_NEAR` if any is not beyond `far`."""
    word, two = types.int64, types.UniTuple(types.int64, 2)
    signature = word(word, types.float64, two, word)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at, far, to, n_vectors = args
        on, off = (builder.extract_value(to, i) for i in range(2))
        zero, bound = emit.filled(_VECTOR, 0.0), emit.splat(builder, far, LANES)
        nothing = ir.Constant(_MASK, 0)
        with Sums(builder, n_vectors, [nothing, nothing]) as sums:
            skip = in_bytes(builder, builder.mul(sums.i, emit.index(LANES)))
            z = vector_at(builder, builder.add(at, skip), 0)
            is_on, is_off = (builder.fcmp_ordered(sign, z, zero) for sign in "><")
            is_near = builder.fcmp_ordered("<=", _magnitude(builder, z), bound)
            masks = [builder.bitcast(each, _MASK) for each in (is_on, is_near, is_off)]
            emit.store(builder, masks[0], builder.add(on, sums.i), 0)
            emit.store(builder, masks[2], builder.add(off, sums.i), 0)
            for i in range(2):
                sums.put(i, builder.or_(sums.totals[i], masks[i]))
        flags = [builder.icmp_unsigned("!=", any_one, nothing) for any_one in sums.totals]
        is_on, is_near = (builder.zext(flag, emit.I64) for flag in flags)
        return builder.or_(is_on, builder.shl(is_near, emit.index(1)))

    return signature, generate


_write: Callable[..., Any] = _writing
"""The same as what compiled code calls, without the context."""


def _magnitude(builder: Any, x: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    name = f"llvm.fabs.v{LANES}f64"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x])


@nb.njit(**INNER)
def changes(order: Any, on: Any, off: Any) -> Any:
    """Cell and unit of each change of side, in the order of the segment, shape (2, changes)."""
    n = k = 0
    for r in range(len(order) - 1):
        here, there = order[r], order[r + 1]
        for w in range(on.shape[1]):
            n += count(_changed(on, off, here, there, w))
    cross = np.empty((2, n), np.int64)
    r = 0
    while k < n:  # most cells have none
        here, there = order[r], order[r + 1]
        for w in range(on.shape[1]):
            bits = _changed(on, off, here, there, w)
            while bits:
                cross[0, k], cross[1, k] = r, w * BITS + first(bits)
                bits &= bits - np.uint64(1)
                k += 1
        r += 1
    return cross


@nb.njit(**INNER)
def _changed(on: Any, off: Any, here: Any, there: Any, w: Any) -> Any:
    """Units of a word that are on different sides in two rows."""
    return (on[here, w] & off[there, w]) | (off[here, w] & on[there, w])


def _of_bits(name: str, make: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function of a word."""

    def code(context: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return make(builder, args[0])

        return types.int64(types.uint64), generate

    code.__name__ = name
    return intrinsic(code)


count = _of_bits("count", lambda builder, bits: builder.ctpop(bits))
"""How many bits of a word are set."""
first = _of_bits("first", lambda builder, bits: builder.cttz(bits, ir.Constant(ir.IntType(1), 1)))
"""Number of the lowest bit of a word that is set; one is."""
