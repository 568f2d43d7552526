"""Machine code of the CPU back end, compiled on first use and cached on disk.

Each function here is compiled by itself and called by its address, so that none is compiled before
somebody needs it. Numba's cache looks at the time stamp of one source file only; therefore a
checksum of all sources is bound to every function as a free variable, and so becomes a part of the
cache's key: a new version of the package never meets old machine code.
"""

# Compiled functions carry no types.
# pyright: basic

from __future__ import annotations

import functools
import types as python_types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba as nb
from numba import types

from deephochuli.kernels import _cpu_loops as loops
from deephochuli.kernels import _cpu_work as parts

_u64, _i64 = types.uint64, types.int64
_compiled: list[Any] = []


def _fingerprint() -> int:
    """Checksum of the sources that make up the machine code."""
    sources = sorted(Path(__file__).parent.glob("_cpu_*.py"))
    return zlib.crc32(b"".join(path.read_bytes() for path in sources))


def _stamped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with the checksum as a free variable, which it does not use."""
    return python_types.FunctionType(
        function.__code__.replace(co_freevars=("fingerprint",)),
        function.__globals__,
        function.__name__,
        None,
        (python_types.CellType(_fingerprint()),),
    )


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
    function, signature = _FUNCTIONS[name]
    stamped = _stamped(function)
    options = {key: loops.OPTIONS[key] for key in ("error_model", "fastmath")}
    try:
        compiled = nb.cfunc(signature, cache=True, **options)(stamped)
    except RuntimeError:  # there is no folder that the cache could be written to
        compiled = nb.cfunc(signature, **options)(stamped)
    _compiled.append(compiled)  # keeps the machine code in memory
    return compiled.address
