"""What compiled CPU code needs of the machine: memory by address, calls by address, two operations.

Every address is an integer: one compiled function serves all tensors of a call, from any thread,
without the interpreter. Functions call one another by address where linking them would make LLVM
optimise the callee again for every caller, which is most of the time that compiling takes.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def _pointer_cast(element: Any) -> Any:
    @intrinsic
    def cast(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.uint64), generate

    return cast


p8, p16, p32, p64 = map(_pointer_cast, (types.uint8, types.uint16, types.uint32, types.uint64))
pi32, pi64 = map(_pointer_cast, (types.int32, types.int64))
pf32, pf64 = map(_pointer_cast, (types.float32, types.float64))


@intrinsic
def fetch_add(typing_context: Any, address: Any) -> Any:
    """Atomically add one to the int64 at an address and return its old value."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.uint64), generate


@intrinsic
def population(typing_context: Any, word: Any) -> Any:
    """Number of bits that are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def call_by_address(n_arguments: int, *, returns: bool) -> Any:
    """Code generation for a C call of an address with 64-bit integers."""
    result = _I64 if returns else ir.VoidType()
    kind = ir.FunctionType(result, [_I64] * n_arguments)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, *rest = arguments
        value = builder.call(builder.inttoptr(address, kind.as_pointer()), rest)
        return value if returns else context.get_dummy_value()

    return (types.int64 if returns else types.void)(*[types.uint64] * (n_arguments + 1)), generate


@intrinsic
def call5(typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Call ``int64 f(a, b, c, d, e)``."""
    return call_by_address(5, returns=True)


@intrinsic
def call6(typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any) -> Any:
    """Call ``void f(a, b, c, d, e, g)``."""
    return call_by_address(6, returns=False)


@intrinsic
def call7(
    typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any, h: Any
) -> Any:
    """Call ``void f(a, b, c, d, e, g, h)``."""
    return call_by_address(7, returns=False)


@intrinsic
def call8(
    typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any, h: Any, i: Any
) -> Any:
    """Call ``void f(a, b, c, d, e, g, h, i)``."""
    return call_by_address(8, returns=False)
