"""Operations on words that Numba has no good ones for."""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from deephochuli.kernels import _cpu_memory as memory


@intrinsic
def shl(typing_context: Any, word: Any, count: Any) -> Any:
    """Give word << count in the width of the word, where Numba's own operator takes 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.shl(*arguments)

    return word(word, word), generate


@intrinsic
def shr(typing_context: Any, word: Any, count: Any) -> Any:
    """Give word >> count in the width of the word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.lshr(*arguments)

    return word(word, word), generate


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

    from numba import types

    return types.int64(), generate


@intrinsic
def call4(typing_context: Any, f: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Call ``void f(a, b, c, d)``."""
    return memory._call(4, returns=False)
