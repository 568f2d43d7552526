"""The control block that compiled parts read, and calls of functions whose addresses it holds."""

# Code generation handles LLVM values, for which llvmlite ships no types.
# pyright: basic

from __future__ import annotations

from typing import Any

from numba.extending import intrinsic

from deephochuli.kernels._cpu_memory import call_by_address
from deephochuli.kernels.products._cpu_chains import COLUMNS, ROWS

# Row tiles in a task, and k that are done at a time: few of exact sums, whose exponents then differ
# less.
GROUP, DEPTH, PIECE = 16, 256, 128
TILE = ROWS * COLUMNS

# Control block, uint64.
(
    C_SLOT,
    C_NEXT,
    C_TASKS,
    C_WAY,
    C_TILE_FUNCTION,
    C_TILE_PARAMETERS,
    C_A,
    C_A_EXPONENTS,
    C_B,
    C_B_EXPONENTS,
    C_START,
    C_OUT,
    C_M,
    C_N,
    C_K,
    C_PADDED_K,
    C_ROW_TILES,
    C_GROUPS,
    C_PANELS,
    C_STARTS,
    C_CHUNKS,
    C_BLOCK,
    C_PLAN,
    C_OUTER,
    C_WIDE,
    C_SCALE,
    C_UNSCALE,
    C_SCRATCH,
    C_SCRATCH_SIZE,
    C_SAVE,
    C_RESTORE,
    C_DEFAULT,
    C_STEADY_FUNCTION,
    C_A_WORDS,  # exponents, or operands in binary64
    C_B_WORDS,
    C_A_BOUNDS,  # of each tile, or piece, the smallest and the largest exponent, int32
    C_B_BOUNDS,
    C_DOUBLE_FUNCTION,  # of exact sums; 0: sums are not exact
    C_SURE_FUNCTION,
    C_CUTS,  # whether steady blocks are rounded toward zero
    C_JOINT,  # what adds partial sums to totals, if that is a function
    C_JOINT_PARAMETERS,
    C_SLOTS,
) = range(43)
ONE_BY_ONE, CHAINS, BLOCKS, WHOLE = range(4)  # whole: chains that cannot be interrupted


@intrinsic
def call1(typing_context: Any, f: Any, a: Any) -> Any:
    """Call ``int64 f(a)``."""
    return call_by_address(1, returns=True)


@intrinsic
def call_joint(typing_context: Any, f: Any, totals: Any, parts: Any, n: Any, p: Any) -> Any:
    """Call ``void f(totals, parts, n, p)``."""
    return call_by_address(4, returns=False)


@intrinsic
def call_chain(typing_context: Any, f: Any, a: Any, b: Any, c: Any, n: Any, p: Any) -> Any:
    """Call ``void f(a, b, c, n, p)``."""
    return call_by_address(5, returns=False)


@intrinsic
def call_exact(
    typing_context: Any, f: Any, a: Any, b: Any, c: Any, marks: Any, n: Any, size: Any, p: Any
) -> Any:
    """Call ``void f(a, b, c, marks, n, size, p)``."""
    return call_by_address(7, returns=False)


@intrinsic
def call_sums(
    typing_context: Any, f: Any, a: Any, b: Any, c: Any, n: Any, size: Any, last: Any, p: Any
) -> Any:
    """Call ``void f(a, b, c, n, size, last, p)``."""
    return call_by_address(7, returns=False)


@intrinsic
def call_blocks(
    typing_context: Any,
    f: Any,
    a: Any,
    ea: Any,
    b: Any,
    eb: Any,
    c: Any,
    n: Any,
    size: Any,
    p: Any,
) -> Any:
    """Call ``int64 f(a, ea, b, eb, c, n, size, p)``."""
    return call_by_address(8, returns=True)
