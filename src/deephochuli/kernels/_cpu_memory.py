"""Raw memory for compiled CPU code: arrays over addresses, and an atomic counter.

The kernels get addresses of tensors rather than arrays, because one compiled function must serve
all tensors of a call, from any thread, without the interpreter.
"""

from __future__ import annotations

from typing import Any

import numba as nb
from numba import types
from numba.extending import intrinsic

OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


def _pointer_cast(element: Any) -> Any:
    @intrinsic
    def cast(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.uint64), generate

    return cast


_u8, _u16, _u32, _u64, _i64, _f64 = (
    _pointer_cast(element)
    for element in (
        types.uint8,
        types.uint16,
        types.uint32,
        types.uint64,
        types.int64,
        types.float64,
    )
)


@nb.njit(types.uint8[::1](types.uint64, types.int64), **OPTIONS)
def u8_at(address, n):
    """Array of n uint8 at an address."""
    return nb.carray(_u8(address), (n,))


@nb.njit(types.uint16[::1](types.uint64, types.int64), **OPTIONS)
def u16_at(address, n):
    """Array of n uint16 at an address."""
    return nb.carray(_u16(address), (n,))


@nb.njit(types.uint32[::1](types.uint64, types.int64), **OPTIONS)
def u32_at(address, n):
    """Array of n uint32 at an address."""
    return nb.carray(_u32(address), (n,))


@nb.njit(types.uint64[::1](types.uint64, types.int64), **OPTIONS)
def u64_at(address, n):
    """Array of n uint64 at an address."""
    return nb.carray(_u64(address), (n,))


@nb.njit(types.int64[::1](types.uint64, types.int64), **OPTIONS)
def i64_at(address, n):
    """Array of n int64 at an address."""
    return nb.carray(_i64(address), (n,))


@nb.njit(types.float64[::1](types.uint64, types.int64), **OPTIONS)
def f64_at(address, n):
    """Array of n binary64 numbers at an address."""
    return nb.carray(_f64(address), (n,))


@intrinsic
def fetch_add(typing_context: Any, address: Any) -> Any:
    """Atomically add one to the int64 at an address and return its old value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer_type = context.get_value_type(types.CPointer(types.int64))
        pointer = builder.inttoptr(arguments[0], pointer_type)
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", pointer, one, "monotonic")

    return types.int64(types.uint64), generate
