"""Run a compiled function on every thread that torch uses, and on no thread of our own if possible.

torch's own OpenMP pool is used where it is GNU OpenMP (Linux): no second pool, no oversubscription,
and the same behaviour around ``fork`` as torch itself. Elsewhere a small thread pool serves: calls
through ctypes do not hold the interpreter lock.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Entry = Callable[[int], None]


@functools.cache
def _gomp_parallel() -> Callable[[int, int, int, int], None] | None:
    """Find the parallel-region entry of the GNU OpenMP library that torch has loaded."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    libraries = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    if len(libraries) != 1:  # none, or two pools of which one is not torch's
        return None
    entry = ctypes.CDLL(libraries.pop()).GOMP_parallel
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    entry.restype = None
    return entry


@functools.cache
def _executor(process: int) -> ThreadPoolExecutor:
    """The thread pool of a process; a child made by ``fork`` has none of its parent's threads."""
    return ThreadPoolExecutor(thread_name_prefix=f"deephochuli-kernels-{process}")


@functools.cache
def _callable(entry_address: int) -> Entry:
    return ctypes.CFUNCTYPE(None, ctypes.c_uint64)(entry_address)


def run_everywhere(entry_address: int, argument: int, n_threads: int) -> None:
    """Call a compiled function once on each of ``n_threads`` threads and wait for all.

    Args:
        entry_address: Address of a C function ``void (uint64)``.
        argument: What to pass, usually an address.
        n_threads: How many threads; 1 stays on the calling thread.
    """
    entry = _callable(entry_address)
    if n_threads <= 1:
        entry(argument)
        return
    parallel = _gomp_parallel()
    if parallel is not None:
        parallel(entry_address, argument, n_threads, 0)
        return
    others = [_executor(os.getpid()).submit(entry, argument) for _ in range(n_threads - 1)]
    entry(argument)
    for other in others:
        other.result()
