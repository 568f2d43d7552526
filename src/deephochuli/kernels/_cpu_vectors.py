"""The inner loops of the CPU back end as vector code.

The loops are written down in LLVM's portable vector instructions, 16 elements a step, through
Numba's ``@intrinsic``: so the vector work (moments, keys) runs in the shadow of the scalar work
(incrementing counters), which no automatic vectoriser arranges. No instruction set is named;
LLVM maps the vectors onto what the processor has.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from deephochuli.kernels._cpu_emit import (
    EXPONENT32,
    EXPONENT64,
    F64,
    I16,
    I32,
    I64,
    LANES,
    V16,
    V32,
    VD,
    VF,
    Loop,
    filled,
    index,
)

# How far ahead of its use memory is fetched.
AHEAD_BYTES = 2048

# Slots of the statistics that ``count32`` and ``count64`` add to, eight bytes each.
T_SUM, T_SUM_SQ, T_LOW, T_HIGH, T_ZEROS = 0, 1, 2, 3, 4
T_SLOTS = 5


@dataclass(frozen=True)
class Histogram:
    """Private histograms for one width of elements.

    An element's counter is its top bits (sign, exponent, 3 significand bits) and the sticky bit.
    Neighbouring elements go to different copies, so that runs of equal keys do not wait for one
    another; rows are staggered, so that equal keys in two copies do not share the low 12 bits of
    their addresses, which processors take for a conflict.
    """

    width: int
    n_bins: int
    copies: int

    @property
    def stride(self) -> int:
        """Counters from one copy to the next."""
        return self.n_bins + 208

    @property
    def n_counters(self) -> int:
        """Counters of all copies."""
        return self.copies * self.stride


H32 = Histogram(width=32, n_bins=1 << 13, copies=4)
H64 = Histogram(width=64, n_bins=1 << 16, copies=2)
# Differences of two exponents, from the counter of difference 0 on in both directions; counter 0
# takes the elements that have no such difference.
RATIO_ZERO = 2304
RATIOS = Histogram(width=32, n_bins=2 * RATIO_ZERO, copies=4)


def _reduce(builder: ir.IRBuilder, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes pairwise, in a fixed order."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        halves = [
            builder.shuffle_vector(
                vector,
                vector,
                ir.Constant(ir.VectorType(I32, lanes), list(range(first, first + lanes))),
            )
            for first in (0, lanes)
        ]
        vector = combine(*halves)
    return builder.extract_element(vector, ir.Constant(I32, 0))


def _choose(builder: ir.IRBuilder, relation: str) -> Callable[[Any, Any], Any]:
    def choose(a: Any, b: Any) -> Any:
        return builder.select(builder.icmp_unsigned(relation, a, b), a, b)

    return choose


def _prefetch(builder: ir.IRBuilder, address: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    arguments = [ir.Constant(I32, value) for value in (0, 3, 1)]  # read, keep, data
    builder.call(function, [builder.inttoptr(address, pointer), *arguments])


def _increment(builder: ir.IRBuilder, shape: Histogram, indices: Any, counters: Any) -> None:
    """Add one to the counters of 16 indices in memory, each in the next copy."""
    for lane in range(LANES):
        counter = builder.load(builder.gep(indices, [ir.Constant(I32, lane)]))
        start = index(lane % shape.copies * shape.stride)
        at = builder.gep(counters, [builder.add(builder.zext(counter, I64), start)])
        builder.store(builder.add(builder.load(at), ir.Constant(I32, 1)), at)


@dataclass(frozen=True)
class _Element:
    """Types and constants of one width of elements."""

    width: int

    @property
    def integer(self) -> ir.IntType:
        """Type of a pattern."""
        return ir.IntType(self.width)

    @property
    def vector(self) -> ir.VectorType:
        """Type of a step's patterns."""
        return ir.VectorType(self.integer, LANES)

    @property
    def infinity(self) -> int:
        """Pattern of the infinity."""
        return EXPONENT32 if self.width == 32 else EXPONENT64

    @property
    def fraction(self) -> int:
        """Bits below those that a key keeps."""
        return 20 if self.width == 32 else 49

    def fill(self, value: int) -> ir.Constant:
        """A vector of equal patterns."""
        return filled(self.vector, value)


def _counter_of(builder: ir.IRBuilder, element: _Element, pattern: Any) -> Any:
    """Sign, exponent, three more bits, sticky bit: 16-bit lanes."""
    low = builder.and_(pattern, element.fill((1 << element.fraction) - 1))
    sticky = builder.zext(builder.icmp_unsigned("!=", low, element.fill(0)), element.vector)
    leading = builder.shl(builder.lshr(pattern, element.fill(element.fraction)), element.fill(1))
    return builder.trunc(builder.or_(leading, sticky), V16)


def _value(builder: ir.IRBuilder, element: _Element, pattern: Any) -> Any:
    """The elements as binary64 numbers."""
    if element.width == 64:
        return builder.bitcast(pattern, VD)
    single = builder.bitcast(pattern, VF)
    return builder.fpext(single, VD)


def _masks(builder: ir.IRBuilder, element: _Element, pattern: Any, magnitude: Any) -> list[Any]:
    """One bit per element: positive and finite; zero."""
    above = builder.sub(pattern, element.fill(1))
    positive = builder.icmp_unsigned("<", above, element.fill(element.infinity - 1))
    zero = builder.icmp_unsigned("==", magnitude, element.fill(0))
    return [builder.bitcast(mask, I16) for mask in (positive, zero)]


def _prefetch_step(builder: ir.IRBuilder, element: _Element, data: Any, turn: Any) -> None:
    """Fetch the cache lines of a step to come; no address is invalid for a prefetch."""
    step = LANES * element.width // 8
    start = builder.add(data, builder.mul(turn, index(step)))
    for line in range(0, step, 64):
        _prefetch(builder, builder.add(start, index(AHEAD_BYTES + line)))


def _emit_count(builder: ir.IRBuilder, shape: Histogram, arguments: Any) -> None:
    """Generate the counting loop; see ``count32``.

    Counters are incremented one step behind: a step reads the indices that the one before wrote, so
    that vector and scalar work overlap. Step 0 finds indices 0, which are taken off at the end.
    """
    bits_at, n_steps, scratch_at, counters_at, positive_at, zero_at, stats_at = arguments
    element = _Element(shape.width)
    data = builder.inttoptr(bits_at, element.vector.as_pointer())
    indices = builder.inttoptr(scratch_at, V16.as_pointer())
    counters = builder.inttoptr(counters_at, I32.as_pointer())
    bitmaps = [builder.inttoptr(at, I16.as_pointer()) for at in (positive_at, zero_at)]
    builder.store(filled(V16, 0), indices, align=2)
    nothing = filled(VD, 0.0)
    start = [nothing, nothing, element.fill(-1), element.fill(0), ir.Constant(I16, 0)]

    loop = Loop(builder, n_steps, start)
    total, squares, low, high, any_zero = loop.state
    pattern = builder.load(builder.gep(data, [loop.index]), align=1)
    _prefetch_step(builder, element, bits_at, loop.index)
    place = builder.gep(indices, [loop.index])
    _increment(builder, shape, builder.bitcast(place, I16.as_pointer()), counters)
    following = builder.gep(place, [index(1)])
    builder.store(_counter_of(builder, element, pattern), following, align=2)
    magnitude = builder.and_(pattern, element.fill((1 << (shape.width - 1)) - 1))
    masks = _masks(builder, element, pattern, magnitude)
    for mask, bitmap in zip(masks, bitmaps, strict=True):
        builder.store(mask, builder.gep(bitmap, [loop.index]))
    value = _value(builder, element, pattern)
    square = builder.fmul(value, value, flags=("contract",))
    less_one = builder.sub(magnitude, element.fill(1))  # zero wraps, and never is the smallest
    last = loop.close(
        [
            builder.fadd(total, value),
            builder.fadd(squares, square, flags=("contract",)),
            _choose(builder, "<")(low, less_one),
            _choose(builder, ">")(high, magnitude),
            builder.or_(any_zero, masks[1]),
        ]
    )
    place = builder.gep(indices, [n_steps])
    _increment(builder, shape, builder.bitcast(place, I16.as_pointer()), counters)
    extra = builder.sub(builder.load(counters), ir.Constant(I32, LANES))
    builder.store(extra, counters)
    _merge_stats(builder, builder.inttoptr(stats_at, I64.as_pointer()), last)


def _merge_stats(builder: ir.IRBuilder, stats: Any, last: list[Any]) -> None:
    """Combine the lanes of the accumulators, and those with what the memory holds."""

    def add(a: Any, b: Any) -> Any:
        return builder.fadd(a, b)

    def merge(slot: int, combine: Callable[[Any, Any], Any], value: Any) -> None:
        at = builder.gep(stats, [index(slot)])
        if value.type == F64:
            at = builder.bitcast(at, F64.as_pointer())
        builder.store(combine(builder.load(at), value), at)

    smaller, larger = _choose(builder, "<"), _choose(builder, ">")
    total, squares, low, high, any_zero = last
    merge(T_SUM, add, _reduce(builder, total, add))
    merge(T_SUM_SQ, add, _reduce(builder, squares, add))
    merge(T_LOW, smaller, _widened(builder, _reduce(builder, low, smaller)))
    merge(T_HIGH, larger, _widened(builder, _reduce(builder, high, larger)))
    merge(T_ZEROS, builder.or_, builder.zext(any_zero, I64))


def _widened(builder: ir.IRBuilder, value: Any) -> Any:
    return value if value.type == I64 else builder.zext(value, I64)


def _exponent(builder: ir.IRBuilder, element: _Element, pattern: Any) -> Any:
    """The exponent field of binary32 patterns, and whether they are normal numbers."""
    field = builder.and_(builder.lshr(pattern, element.fill(23)), element.fill(255))
    below = builder.sub(field, element.fill(1))
    return field, builder.icmp_unsigned("<", below, element.fill(254))


def _ratio(builder: ir.IRBuilder, element: _Element, update: Any, before: Any) -> tuple[Any, Any]:
    """Counters of the exponent differences (0: none), and whether they can be trusted."""
    e_update, is_normal = _exponent(builder, element, update)
    e_before, was_normal = _exponent(builder, element, before)
    # Only below 2^-101 can a flushed operand or result of the subtraction matter.
    is_large = builder.icmp_unsigned(">=", e_update, element.fill(26))
    plain = builder.and_(builder.and_(is_normal, was_normal), is_large)
    ratio = builder.add(builder.sub(e_update, e_before), element.fill(RATIO_ZERO))
    chosen = builder.select(plain, ratio, element.fill(0))
    return builder.trunc(chosen, V16), plain


def _population(builder: ir.IRBuilder, mask: Any) -> Any:
    """How many of the 16 elements a mask holds for."""
    return builder.zext(builder.ctpop(builder.bitcast(mask, I16)), I64)


def _emit_compare(builder: ir.IRBuilder, shape: Histogram, arguments: Any) -> Any:
    """Generate the loop over one optimizer step; see ``compare_steps``.

    Counters are incremented one step behind, as in ``_emit_count``; step 0 finds indices 0, and
    nobody reads that counter.
    """
    after_at, before_at, gradient_at, update_at, n_steps, indices_at, counters_at, moves_at = (
        arguments
    )
    element = _Element(shape.width)
    floats = VF
    sources = [
        builder.inttoptr(at, element.vector.as_pointer())
        for at in (after_at, before_at, gradient_at)
    ]
    updates = builder.inttoptr(update_at, floats.as_pointer())
    indices = builder.inttoptr(indices_at, V16.as_pointer())
    counters = builder.inttoptr(counters_at, I32.as_pointer())
    builder.store(filled(V16, 0), indices, align=2)
    zero = index(0)

    loop = Loop(builder, n_steps, [zero, zero, ir.Constant(I16, 0)])
    updatable, unmoved, odd = loop.state
    after, before, gradient = (
        builder.load(builder.gep(source, [loop.index]), align=1) for source in sources
    )
    for at in (after_at, before_at, gradient_at):
        _prefetch_step(builder, element, at, loop.index)
    place = builder.gep(indices, [loop.index])
    _increment(builder, shape, builder.bitcast(place, I16.as_pointer()), counters)
    difference = builder.fsub(builder.bitcast(after, floats), builder.bitcast(before, floats))
    builder.store(difference, builder.gep(updates, [loop.index]), align=4)
    ratio, plain = _ratio(builder, element, builder.bitcast(difference, element.vector), before)
    builder.store(ratio, builder.gep(place, [index(1)]), align=2)
    kept = builder.icmp_unsigned("==", after, before)
    magnitude = builder.and_(gradient, element.fill((1 << 31) - 1))
    below = builder.sub(magnitude, element.fill(1))
    moves = builder.icmp_unsigned("<", below, element.fill(element.infinity - 1))
    counted, stayed, strange = loop.close(
        [
            builder.add(updatable, _population(builder, moves)),
            builder.add(unmoved, _population(builder, builder.and_(moves, kept))),
            builder.or_(odd, builder.bitcast(builder.not_(builder.or_(plain, kept)), I16)),
        ]
    )
    last = builder.bitcast(builder.gep(indices, [n_steps]), I16.as_pointer())
    _increment(builder, shape, last, counters)
    totals = builder.inttoptr(moves_at, I64.as_pointer())
    for slot, value in enumerate((counted, stayed)):
        at = builder.gep(totals, [index(slot)])
        builder.store(builder.add(builder.load(at), value), at)
    return builder.zext(strange, I64)


def _emit_fold(builder: ir.IRBuilder, shape: Histogram, arguments: Any) -> None:
    """Generate the loop that adds up the copies; see ``fold32``."""
    counters_at, first, n_steps = arguments
    vector = V32
    counters = builder.inttoptr(counters_at, I32.as_pointer())
    loop = Loop(builder, n_steps, [])
    at = builder.add(first, builder.mul(loop.index, index(LANES)))

    def place(copy: int) -> Any:
        element = builder.gep(counters, [builder.add(at, index(copy * shape.stride))])
        return builder.bitcast(element, vector.as_pointer())

    total = builder.load(place(0), align=4)
    for copy in range(1, shape.copies):
        total = builder.add(total, builder.load(place(copy), align=4))
        builder.store(filled(V32, 0), place(copy), align=4)
    builder.store(total, place(0), align=4)
    loop.close([])


def _count_intrinsic(shape: Histogram) -> Any:
    @intrinsic
    def count(
        typing_context: Any,
        bits: Any,
        n_steps: Any,
        scratch: Any,
        counters: Any,
        positive: Any,
        zero: Any,
        stats: Any,
    ) -> Any:
        """Count 16 n_steps elements, n_steps >= 1; all other arguments are addresses.

        Adds to the counters and to the statistics; writes one bit per element to two bitmaps:
        positive and finite, and zero. The scratch memory holds 16 (n_steps + 1) 16-bit indices.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _emit_count(builder, shape, arguments)
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, *[types.uint64] * 5), generate

    return count


def _fold_intrinsic(shape: Histogram) -> Any:
    @intrinsic
    def fold(typing_context: Any, counters: Any, first: Any, n_steps: Any) -> Any:
        """Add 16 n_steps counters of all copies into the first copy, and clear the others."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _emit_fold(builder, shape, arguments)
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, types.int64), generate

    return fold


def _compare_intrinsic(shape: Histogram) -> Any:
    @intrinsic
    def compare(
        typing_context: Any,
        after: Any,
        before: Any,
        gradient: Any,
        update: Any,
        n_steps: Any,
        indices: Any,
        counters: Any,
        moves: Any,
    ) -> Any:
        """Compare 16 n_steps binary32 elements around a step; other arguments are addresses.

        Writes after - before; adds to the counters of exponent differences, and to two counters:
        elements with a nonzero finite gradient, and those of them that kept their bits. The indices
        of the counters stay in ``indices``, one step behind. Returns nonzero if elements that moved
        have index 0: those must be looked at again.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _emit_compare(builder, shape, arguments)

        kinds = [*[types.uint64] * 4, types.int64, *[types.uint64] * 3]
        return types.int64(*kinds), generate

    return compare


compare_steps = _compare_intrinsic(RATIOS)
count32, count64 = _count_intrinsic(H32), _count_intrinsic(H64)
fold32, fold64 = _fold_intrinsic(H32), _fold_intrinsic(H64)
