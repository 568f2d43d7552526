"""The compiled functions of the statistics."""

# Compiled functions carry no types.
# pyright: basic

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import types

from deephochuli.kernels import _cpu_loops as loops
from deephochuli.kernels import _cpu_work as parts
from deephochuli.kernels._cpu_machine_code import MachineCode

_u64, _i64 = types.uint64, types.int64
_OPTIONS = {key: loops.OPTIONS[key] for key in ("error_model", "fastmath")}
_code = MachineCode(Path(__file__).parent, **_OPTIONS)

# Function, and its C signature: unsigned arguments where addresses are meant, signed for counts.
_FUNCTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "work": (parts.work, types.void(_u64)),
    "add_block32": (loops.add_block32, _i64(_u64, _i64, _u64, _i64, _u64)),
    "add_block64": (loops.add_block64, _i64(_u64, _i64, _u64, _i64, _u64)),
    "drain32": (parts.drain32, _i64(_u64, _i64, _u64, _u64, _i64)),
    "drain64": (parts.drain64, _i64(_u64, _i64, _u64, _u64, _i64)),
    "widen": (loops.widen, types.void(_i64, _u64, _u64, _i64, _i64, _u64)),
    "channels32": (loops.channels32, types.void(_u64, _u64, *[_i64] * 4, _u64, _i64)),
    "channels64": (loops.channels64, types.void(_u64, _u64, *[_i64] * 4, _u64, _i64)),
    "compare32": (loops.compare32, types.void(*[_u64] * 4, _i64, _u64, _u64)),
    "compare64": (loops.compare64, types.void(*[_u64] * 4, _i64, _u64, _u64)),
}


@functools.cache
def address_of(name: str) -> int:
    """Address of a C function, compiled or loaded from the cache when first asked for."""
    return _code.address(*_FUNCTIONS[name])
