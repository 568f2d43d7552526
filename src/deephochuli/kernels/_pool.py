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

import torch

Entry = Callable[[int], None]


def library_of_torch(loaded: set[str], folder: Path) -> str | None:
    """Which of the OpenMP libraries of a process is torch's.

    Others, scikit-learn's for one, bring their own copy.

    Args:
        loaded: Paths of all that are loaded.
        folder: Where torch is installed.

    Returns:
        The one in torch's folder, or the only one; None where that decides nothing.

    Example:
        >>> loaded = {"/lib/torch/lib/libgomp.so.1", "/lib/scikit_learn.libs/libgomp.so"}
        >>> library_of_torch(loaded, Path("/lib/torch"))
        '/lib/torch/lib/libgomp.so.1'
    """
    own = {path for path in loaded if Path(path).is_relative_to(folder)}
    candidates = own or loaded
    return next(iter(candidates)) if len(candidates) == 1 else None


@functools.cache
def _gomp_parallel() -> Callable[[int, int, int, int], None] | None:
    """Find the parallel-region entry of the GNU OpenMP library that torch has loaded."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    loaded = {line.split()[-1] for line in maps.read_text().splitlines() if "libgomp" in line}
    library = library_of_torch(loaded, Path(torch.__file__).resolve().parent)
    if library is None:
        return None
    entry = ctypes.CDLL(library).GOMP_parallel
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
