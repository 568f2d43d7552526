"""Operations on words of 32 or 64 bits whose result has the width of its operands.

Numba's own operators take 64 bits, which halves the speed of vector code, and name the type of each
result, so that code for one width is no code for the other.
"""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from deephochuli.kernels import _cpu_memory as memory

_FLOATS = {32: types.float32, 64: types.float64}
_WORDS = {32: types.uint32, 64: types.uint64}


def _binary(operation: str) -> Any:
    """An operation of LLVM on two words of one type."""

    @intrinsic
    def operate(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(*arguments)

        return a(a, a), generate

    return operate


add, sub, shl, shr, both, either = map(_binary, ("add", "sub", "shl", "lshr", "and_", "or_"))


def _conversion(result_of: Callable[[Any], Any], operation: str) -> Any:
    """An operation of LLVM from a number to a word of its width, or back."""

    @intrinsic
    def convert(typing_context: Any, value: Any) -> Any:
        result = result_of(value)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(arguments[0], context.get_value_type(result))

        return result(value), generate

    return convert


def _float(word: Any) -> Any:
    return _FLOATS[word.bitwidth]


def _word(number: Any) -> Any:
    return _WORDS[number.bitwidth]


number_with_bits, bits_of_number = _conversion(_float, "bitcast"), _conversion(_word, "bitcast")
# Of words below 2^31, for which there are faster instructions than for all words.
number_of = _conversion(_float, "sitofp")
truncated = _conversion(_word, "fptosi")
truncated_wide = _conversion(_word, "fptoui")


@intrinsic
def absolute(typing_context: Any, number: Any) -> Any:
    """A number without its sign."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.module.declare_intrinsic("llvm.fabs", [arguments[0].type])
        return builder.call(function, arguments)

    return number(number), generate


@intrinsic
def choose(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """One of two words: both are there, and nothing branches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(types.boolean, a, a), generate


@intrinsic
def use_widest_vectors(typing_context: Any) -> Any:
    """Let the function that this stands in be compiled to the widest vectors there are.

    LLVM holds back on processors whose clock such vectors once slowed down; a loop that does
    nothing else gains by them.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # llvmlite lets known attributes through only; this one is a string to LLVM itself.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), generate


@intrinsic
def call_fill(typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any) -> Any:
    """Call ``void f(a, b, c, d, e, g)``."""
    return memory.call_by_address(6, returns=False)


@intrinsic
def call_loop(typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any) -> Any:
    """Call ``int64 f(a, b, c, d, e, g)``."""
    return memory.call_by_address(6, returns=True)


@intrinsic
def call_blocks(
    typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any, g: Any, h: Any, i: Any
) -> Any:
    """Call ``int64 f(a, b, c, d, e, g, h, i)``."""
    return memory.call_by_address(8, returns=True)
