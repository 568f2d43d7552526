"""Where to find what sets a thread's rounding direction and flush flags, if the system has it."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import sys
from typing import NamedTuple


class Environment(NamedTuple):
    """Addresses of fegetenv and fesetenv of C, and what the latter takes for the default."""

    save: int
    restore: int
    default: int


_NOTHING = Environment(0, 0, 0)


@functools.cache
def environment() -> Environment:
    """The functions of this system; zeros where it has none, and flags stay as they are."""
    if sys.platform not in ("linux", "darwin"):
        return _NOTHING
    try:
        library = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
        save = ctypes.cast(library.fegetenv, ctypes.c_void_p).value or 0
        restore = ctypes.cast(library.fesetenv, ctypes.c_void_p).value or 0
        default = (1 << 64) - 1  # ((const fenv_t *) -1), in glibc and musl
        if sys.platform == "darwin":
            default = ctypes.addressof(ctypes.c_char.in_dll(library, "_FE_DFL_ENV"))
    except (OSError, AttributeError, ValueError):
        return _NOTHING
    return Environment(save, restore, default)
