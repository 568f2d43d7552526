"""Vector operations that round down, whatever the direction of the thread.

Processors with AVX-512 are told the direction by the instruction; elsewhere the nearest number is
formed, and the one below it where that was too much.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

from deephochuli.kernels._cpu_emit import I32, V32, VF, bits_of, filled

# Toward minus infinity, and no exceptions.
_DOWN = ir.Constant(I32, 9)


@functools.cache
def can_round_down() -> bool:
    """Whether instructions of the processor that code is made for take a direction."""
    return "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def added_down(builder: ir.IRBuilder, x: Any, y: Any) -> Any:
    """The largest numbers that are not above x + y, which are finite."""
    if can_round_down():
        return _call(builder, "llvm.x86.avx512.add.ps.512", VF, [x, y, _DOWN])
    near = builder.fadd(x, y)
    own = builder.fsub(near, x)
    others = builder.fsub(x, builder.fsub(near, own))
    error = builder.fadd(others, builder.fsub(y, own))  # TwoSum
    bits = bits_of(builder, near)
    sign = builder.ashr(bits, filled(V32, 31))
    below = builder.sub(bits, builder.or_(sign, filled(V32, 1)))
    above = builder.fcmp_ordered("<", error, filled(VF, 0.0))
    return builder.bitcast(builder.select(above, below, bits), VF)


def fma_down(builder: ir.IRBuilder, x: Any, y: Any, z: Any) -> Any:
    """The largest numbers that are not above x y + z, which are finite; x y is exact."""
    if can_round_down():
        return _call(builder, "llvm.x86.avx512.vfmadd.ps.512", VF, [x, y, z, _DOWN])
    return added_down(builder, builder.fmul(x, y), z)
