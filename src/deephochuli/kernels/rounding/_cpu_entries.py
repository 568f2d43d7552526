"""Machine code of the rounding, compiled on first use and cached on disk.

Each loop is compiled by itself when a plan first needs it. As in the statistics kernels, a checksum
of all sources is bound to every function as a free variable and so becomes a part of the cache's
key: a new version of the package never meets old machine code.
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

from deephochuli.kernels import _cpu_emit as emit
from deephochuli.kernels import _cpu_loops as statistics_loops
from deephochuli.kernels import _cpu_memory as memory
from deephochuli.kernels.rounding import _constants, _contract
from deephochuli.kernels.rounding._constants import Mode, Variant
from deephochuli.kernels.rounding._contract import CARRIER32, CARRIER64
from deephochuli.kernels.rounding._cpu_block_loops import Way, make_block_loop
from deephochuli.kernels.rounding._cpu_loops import make_loop
from deephochuli.kernels.rounding._cpu_philox import fill
from deephochuli.kernels.rounding._cpu_work import work

_u64, _i64 = types.uint64, types.int64
_OTHERS = (_constants, _contract, memory, emit, statistics_loops)
_compiled: list[Any] = []


@functools.cache
def _fingerprint() -> int:
    """Checksum of the sources that make up the machine code."""
    others = [module.__file__ for module in _OTHERS]
    paths = [*Path(__file__).parent.glob("_cpu_*.py"), *(Path(str(name)) for name in others)]
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(paths)))


def _stamped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with the checksum as one more free variable, which it does not use."""
    code = function.__code__
    return python_types.FunctionType(
        code.replace(co_freevars=(*code.co_freevars, "fingerprint")),
        function.__globals__,
        function.__name__,
        None,
        (*(function.__closure__ or ()), python_types.CellType(_fingerprint())),
    )


def _compile(function: Callable[..., Any], signature: Any) -> int:
    """Address of a C function, compiled or loaded from the cache."""
    stamped = _stamped(function)
    try:
        compiled = nb.cfunc(signature, cache=True, error_model="numpy")(stamped)
    except RuntimeError:  # there is no folder that the cache could be written to
        compiled = nb.cfunc(signature, error_model="numpy")(stamped)
    _compiled.append(compiled)  # keeps the machine code in memory
    return compiled.address


@functools.cache
def work_address() -> int:
    """Address of ``void work(control)``."""
    return _compile(work, types.void(_u64))


@functools.cache
def fill_address() -> int:
    """Address of ``void fill(random, first_group, n, keys, source, target)``."""
    return _compile(fill, types.void(_u64, _u64, _i64, _u64, _u64, _u64))


@functools.cache
def loop_address(width: int, mode: Mode, variant: Variant) -> int:
    """Address of the loop ``int64 (source, target, n, table, random)`` for some plans."""
    carrier = CARRIER64 if width == CARRIER64.width else CARRIER32
    loop = make_loop(carrier, int(mode), variant)
    return _compile(loop, _i64(_u64, _u64, _i64, _u64, _u64))


@functools.cache
def block_loop_address(way: Way) -> int:
    """Address of ``int64 (source, target, n, block, scratch, words, random)``, for some blocks."""
    return _compile(make_block_loop(way), _i64(_u64, _u64, _i64, _i64, _u64, _u64, _u64))
