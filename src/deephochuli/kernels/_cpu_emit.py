"""Pieces of vector code that loops of the CPU back ends are made of.

Sixteen lanes a vector, in LLVM's portable vector instructions; LLVM maps them onto what the
processor has.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

LANES = 16
I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()
V16, V32, V64 = (ir.VectorType(kind, LANES) for kind in (I16, I32, I64))
VF, VD = ir.VectorType(F32, LANES), ir.VectorType(F64, LANES)
EXPONENT32, SIGN32 = 0x7F800000, 0x80000000
EXPONENT64, SIGN64 = 0x7FF << 52, 1 << 63


def index(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def filled(kind: ir.VectorType, value: float) -> ir.Constant:
    """A vector of equal lanes."""
    return ir.Constant(kind, [value] * kind.count)


def splat(builder: ir.IRBuilder, scalar: Any, lanes: int = LANES) -> Any:
    """A vector with a scalar in all lanes."""
    kind = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    order = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), order)


def fma(builder: ir.IRBuilder, x: Any, y: Any, z: Any) -> Any:
    """The fused x y + z of vectors."""
    short = {F32: "f32", F64: "f64"}[x.type.element]
    kind = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fma.v{x.type.count}{short}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [x, y, z])


def pointer(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    """An address as a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def load(builder: ir.IRBuilder, address: Any, kind: ir.Type, offset: Any) -> Any:
    """The vector or scalar at an address plus an offset in bytes, of any alignment."""
    offset = index(offset) if isinstance(offset, int) else offset
    return builder.load(pointer(builder, builder.add(address, offset), kind), align=1)


def store(builder: ir.IRBuilder, value: Any, address: Any, offset: int) -> None:
    """Write a vector at an address plus an offset in bytes."""
    at = pointer(builder, builder.add(address, index(offset)), value.type)
    builder.store(value, at, align=1)


def choose(builder: ir.IRBuilder, relation: str, x: Any, y: Any) -> Any:
    """The larger (">") or smaller ("<") of signed integers, lane by lane."""
    return builder.select(builder.icmp_signed(relation, x, y), x, y)


@functools.cache
def has_feature(name: str) -> bool:
    """Whether what is compiled for has an extension, by LLVM's name for it."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return f"+{name}" in features.split(",")


def has_avx512() -> bool:
    """Whether there are vectors of sixteen words, and enough registers for them."""
    return has_feature("avx512f")


def looked_up(builder: ir.IRBuilder, table: Any, places: Any) -> Any:
    """Entries of a vector of floats at places, of which the last four bits count.

    One instruction with AVX-512, and a few with AVX2, which looks eight words up in eight.
    """
    if has_avx512():
        return _permuted(builder, "llvm.x86.avx512.permvar.sf.512", table, places)
    if not has_feature("avx2"):
        return _looked_up_singly(builder, table, places)
    halves = [[half * 8 + lane for lane in range(8)] for half in (0, 1)]
    tables = [_picked(builder, table, half) for half in halves]
    found = []
    for half in halves:
        place = _picked(builder, places, half)
        low, high = (_permuted(builder, "llvm.x86.avx2.permps", part, place) for part in tables)
        bit = builder.and_(place, filled(place.type, 8))
        is_high = builder.icmp_unsigned("!=", bit, filled(place.type, 0))
        found.append(builder.select(is_high, high, low))
    return builder.shuffle_vector(*found, ir.Constant(V32, list(range(LANES))))


def _picked(builder: ir.IRBuilder, vector: Any, lanes: list[int]) -> Any:
    order = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(vector, vector, order)


def _permuted(builder: ir.IRBuilder, name: str, table: Any, places: Any) -> Any:
    """Entries at places modulo their number."""
    kind = ir.FunctionType(table.type, [table.type, places.type])
    permute = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(permute, [table, places])


def _looked_up_singly(builder: ir.IRBuilder, table: Any, places: Any) -> Any:
    places = builder.and_(places, filled(V32, LANES - 1))
    found = ir.Constant(table.type, ir.Undefined)
    for lane in range(LANES):
        place = builder.extract_element(places, ir.Constant(I32, lane))
        entry = builder.extract_element(table, place)
        found = builder.insert_element(found, entry, ir.Constant(I32, lane))
    return found


def bits_of(builder: ir.IRBuilder, x: Any) -> Any:
    """The pattern of floats."""
    kind = I64 if x.type.element == F64 else I32
    return builder.bitcast(x, ir.VectorType(kind, x.type.count))


def flushed(builder: ir.IRBuilder, x: Any) -> Any:
    """Binary32 numbers; zeros, with their signs, for subnormal ones."""
    bits = bits_of(builder, x)
    power = builder.and_(bits, filled(V32, EXPONENT32))
    small = builder.icmp_unsigned("==", power, filled(V32, 0))
    sign = builder.and_(bits, filled(V32, SIGN32))
    return builder.bitcast(builder.select(small, sign, bits), VF)


def any_lane(builder: ir.IRBuilder, mask: Any) -> Any:
    """Whether a mask holds for any lane."""
    word = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_unsigned("!=", word, ir.Constant(word.type, 0))


def any_of(builder: ir.IRBuilder, masks: list[Any]) -> Any:
    """Where one of some masks holds."""
    common = masks[0]
    for mask in masks[1:]:
        common = builder.or_(common, mask)
    return common


def common_bits(builder: ir.IRBuilder, patterns: list[Any]) -> Any:
    """The bits that are set in all patterns."""
    common = patterns[0]
    for pattern in patterns[1:]:
        common = builder.and_(common, pattern)
    return common


def either(builder: ir.IRBuilder, *ways: tuple[list[Any], Any]) -> list[Any]:
    """Values that depend on the block that one comes from: lists of them, and their blocks."""
    new = []
    for i, first in enumerate(ways[0][0]):
        phi = builder.phi(first.type)
        for values, block in ways:
            phi.add_incoming(values[i], block)
        new.append(phi)
    return new


class Loop:
    """A counted loop with accumulators, n >= 1 turns."""

    def __init__(self, builder: ir.IRBuilder, n: Any, start: list[Any]) -> None:
        """Open the body; `index` and `state` are its variables."""
        self._builder, self._n = builder, n
        entry = builder.block
        self._body = builder.append_basic_block("loop")
        self._done = builder.append_basic_block("done")
        builder.branch(self._body)
        builder.position_at_end(self._body)
        self.index = builder.phi(I64)
        self.index.add_incoming(index(0), entry)
        self.state = [builder.phi(value.type) for value in start]
        for phi, value in zip(self.state, start, strict=True):
            phi.add_incoming(value, entry)

    def close(self, new: list[Any]) -> list[Any]:
        """End the body with the accumulators' new values; return their last ones."""
        builder = self._builder
        following = builder.add(self.index, index(1))
        self.index.add_incoming(following, builder.block)
        for phi, value in zip(self.state, new, strict=True):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self._n), self._body, self._done)
        builder.position_at_end(self._done)
        return new
