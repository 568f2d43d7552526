"""The compiled functions of the products."""

# Compiled functions carry no types.
# pyright: basic

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import types

from deephochuli.kernels import _cpu_directed as directed
from deephochuli.kernels import _cpu_emit as emit
from deephochuli.kernels import _cpu_memory as memory
from deephochuli.kernels._cpu_machine_code import MachineCode
from deephochuli.kernels.products import _cpu_exponents as exponents
from deephochuli.kernels.products import _cpu_leaves as leaves
from deephochuli.kernels.products import _cpu_tiles as tiles
from deephochuli.kernels.products import _cpu_trees as trees
from deephochuli.kernels.products import _cpu_work as parts

_u64, _i64 = types.uint64, types.int64
_code = MachineCode(Path(__file__).parent, directed, emit, memory, error_model="numpy")
_CHAIN = types.void(_u64, _u64, _u64, _i64, _u64)
_BLOCKS = _i64(*[_u64] * 5, _i64, _i64, _u64)
_SUMS = types.void(*[_u64] * 3, *[_i64] * 3, _u64)
_SINGLE = tuple(f"exact_{name}{size}" for name in ("single", "sure") for size in ("", 2, 4))
_CHAINS = ("fused32", "fused64", "separate32", "separate64")
_FLUSHING = ("interleaved32", "flushing_fused32", "flushing_separate32", "flushing_interleaved32")
_NARROW = ("quick_bounded", "quick_even", "quick_checked", "quick_wide", "careful_separate")
_LEAVES = tuple(f"{way}leaves{n}" for way in ("", "flushing_") for n in leaves.SIZES)
_SEPARATE = ("quick_separate", "signed_separate")
_ALIGNED = ("truncated0", "truncated1", "truncated2")
_NEAREST = ("nearest0", "nearest1", "nearest2", "shortened")
_FINISHES = ("truncated", "nearest", "bounded", "shortened")
_STEADY = tuple(f"steady_{name}{n}" for name in _FINISHES for n in range(3))

_LATE = ("steady_late", "steady_late4", "steady_late_split")

# Function, and its C signature: unsigned arguments where addresses are meant, signed for counts.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "work": (parts.work, types.void(_u64)),
    "exponents32": (exponents.exponents32, types.void(_u64, _u64, _i64, _i64, _i64, _i64)),
    "join_narrow": (tiles.join_narrow, types.void(_u64, _u64, _i64, _u64)),
    "least32": (exponents.least32, types.void(_u64, _u64, _i64)),
    "words32": (exponents.words32, types.void(_u64, _u64, _u64, *[_i64] * 5)),
    "bounds32": (exponents.bounds32, types.void(_u64, _u64, *[_i64] * 4)),
    "exact_blocks": (tiles.exact_blocks, types.void(*[_u64] * 4, _i64, _i64, _u64)),
    "pairwise32": (trees.pairwise32, _CHAIN),
    "flushing_pairwise32": (trees.flushing_pairwise32, _CHAIN),
    **{name: (getattr(tiles, name), _CHAIN) for name in (*_CHAINS, *_FLUSHING, *_NARROW)},
    **{name: (getattr(tiles, name), _CHAIN) for name in (*_LEAVES, *_SEPARATE)},
    **{
        name: (getattr(tiles, name), _SUMS) for name in (*_SINGLE, "exact_double", "exact_double32")
    },
    **{name: (getattr(tiles, name), _BLOCKS) for name in (*_ALIGNED, *_NEAREST, *_STEADY, *_LATE)},
}


@functools.cache
def address_of(name: str) -> int:
    """Address of a C function, compiled or loaded from the cache when first asked for."""
    return _code.address(*_FUNCTIONS[name])
