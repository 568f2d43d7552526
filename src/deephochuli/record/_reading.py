"""A thread that waits for devices and makes rows of what they counted, while training goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_readers: dict[int, ThreadPoolExecutor] = {}  # by process: a fork has none of its parent's threads


def read_soon(read: Callable[[], Result]) -> Future[Result]:
    """Call something in the thread of this process that reads, after all it was given before."""
    reader = _readers.get(os.getpid())
    if reader is None:
        made = ThreadPoolExecutor(1, thread_name_prefix="deephochuli-reader")
        reader = _readers.setdefault(os.getpid(), made)
    return reader.submit(read)
