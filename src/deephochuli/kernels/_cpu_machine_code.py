"""Machine code of the CPU back ends, compiled on first use and cached on disk.

Functions are compiled one by one and called by their addresses, so that none is compiled before
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
from types import ModuleType
from typing import Any

import numba as nb


class MachineCode:
    """The compiled functions of a folder; keeps them in memory."""

    def __init__(self, folder: str | Path, *others: ModuleType, **options: Any) -> None:
        """Compile from ``_cpu_*.py`` of a folder and from other modules, with options of Numba."""
        self._folder, self._others, self._options = Path(folder), others, options
        self._compiled: list[Any] = []

    @functools.cached_property
    def _fingerprint(self) -> int:
        """Checksum of the sources that make up the machine code."""
        others = [Path(str(module.__file__)) for module in self._others]
        paths = sorted([*self._folder.glob("_cpu_*.py"), *others])
        return zlib.crc32(b"".join(path.read_bytes() for path in paths))

    def _stamped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function with the checksum as one more free variable, which it does not use."""
        code = function.__code__
        return python_types.FunctionType(
            code.replace(co_freevars=(*code.co_freevars, "fingerprint")),
            function.__globals__,
            function.__name__,
            None,
            (*(function.__closure__ or ()), python_types.CellType(self._fingerprint)),
        )

    def address(self, function: Callable[..., Any], signature: Any) -> int:
        """Address of a C function, compiled or loaded from the cache."""
        stamped, options = self._stamped(function), self._options
        try:
            compiled = nb.cfunc(signature, cache=True, **options)(stamped)
        except RuntimeError:  # there is no folder that the cache could be written to
            compiled = nb.cfunc(signature, **options)(stamped)
        self._compiled.append(compiled)
        return compiled.address
