"""Run a compiled function on every thread that torch uses, and on no thread of our own if possible.

torch's own OpenMP pool is used where it is GNU OpenMP (Linux): no second pool, no oversubscription,
and the same behaviour around ``fork`` as torch itself. Elsewhere a small thread pool serves; the
compiled code does not hold the interpreter lock.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import torch


@functools.cache
def _gomp_parallel() -> Callable[..., None] | None:
    """Find the parallel-region entry of the GNU OpenMP library that torch has loaded."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    libraries = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    if len(libraries) != 1:
        return None
    entry = ctypes.CDLL(libraries.pop()).GOMP_parallel
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    entry.restype = None
    return entry


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="deephochuli-kernels")


def run_everywhere(
    work: Callable[[int], None], entry_address: int, argument: int, n_threads: int
) -> None:
    """Call a compiled function once on each of ``n_threads`` threads and wait for all.

    Args:
        work: The function as a callable that releases the interpreter lock.
        entry_address: The same function as a C function ``void (uint64)``.
        argument: What to pass, usually an address.
        n_threads: How many threads; 1 stays on the calling thread.
    """
    if n_threads <= 1:
        work(argument)
        return
    parallel = _gomp_parallel()
    if parallel is not None:
        parallel(entry_address, argument, n_threads, 0)
        return
    wait([_executor().submit(work, argument) for _ in range(n_threads - 1)] + _inline(work, argument))


def _inline(work: Callable[[int], None], argument: int) -> list:
    work(argument)
    return []


def thread_count() -> int:
    """How many threads torch would use on this thread of the interpreter."""
    return torch.get_num_threads() if threading.current_thread() is not None else 1
