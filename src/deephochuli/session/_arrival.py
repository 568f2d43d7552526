"""Learning that a module has been imported, without importing it.

torch reads the environment when it is imported: the number of threads, the devices, allocators.
A script may set such variables before its ``import torch``, so nothing here may import it first.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Arrival(MetaPathFinder):
    """Calls back once a module has been imported; at once if it has been already."""

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        """Wait for the top-level module `name`; `callback` must not raise."""
        self._name = name
        self._callback = callback
        self._is_searching = False
        if name in sys.modules:
            callback()
        else:
            sys.meta_path.insert(0, self)

    def cease(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find what others find, and have its end announced."""
        if fullname != self._name or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _AnnouncingLoader(spec.loader, self._arrived)
        return spec

    def _arrived(self) -> None:
        self.cease()
        self._callback()


class _AnnouncingLoader(Loader):
    """Loads as another loader does, which takes its place again before the module can see this."""

    def __init__(self, loader: Loader, announce: Callable[[], None]) -> None:
        self._loader = loader
        self._announce = announce

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._announce()
