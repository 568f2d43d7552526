"""Running a script or a module as ``__main__``, as ``python script.py`` or ``python -m`` would.

The import system runs the code, in a module that stays ``__main__`` until the process has ended:
pickling, ``multiprocessing`` and exit handlers find what they look for. Nothing is caught: what
the script raises, ``SystemExit`` and ``KeyboardInterrupt`` included, goes up to the interpreter,
which ends the process as it always does.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import cast

from deephochuli.cli._traceback import hide_own_frames
from deephochuli.session import Script


class _CodeLoader(InspectLoader):
    """Has the import system run code that is already compiled."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def get_source(self, fullname: str) -> str | None:
        return None


def run_as_main(script: Script, after_traceback: Callable[[], None]) -> None:
    """Run a script in place of this program, with nothing of this program in sight.

    Args:
        script: A script that exists, or a module.
        after_traceback: Called once the traceback of an uncaught exception has been printed.

    Raises:
        BaseException: Whatever the script raises. Its traceback is printed without our frames.
    """
    try:
        module, code = _module_of(script) if script.is_module else _file_of(script)
        sys.modules["__main__"] = module
        _CodeLoader(code).exec_module(module)
    except BaseException:
        hide_own_frames(run_as_main.__code__, after_traceback)
        raise


# ---- what Python prepares before it runs something


def _file_of(script: Script) -> tuple[ModuleType, CodeType]:
    """Prepare what ``python path`` prepares."""
    given = script.target
    sys.argv[:] = [given, *script.arguments]
    path = given if Path(given).is_absolute() else f"{Path.cwd()}{os.sep}{given}"
    if Path(given).is_dir() or Path(given).suffix in (".zip", ".pyz"):
        _set_first_path(path)
        return _application_of(path)
    _set_first_path(str(Path(given).resolve().parent))
    is_compiled = path.endswith(".pyc")
    loader = (SourcelessFileLoader if is_compiled else SourceFileLoader)("__main__", path)
    module = _new_main(loader, None, path, None)
    if isinstance(loader, SourceFileLoader):  # python keeps no compiled copy of a script
        return module, loader.source_to_code(loader.get_data(path), path)
    return module, _code_of(loader, "__main__")


def _application_of(path: str) -> tuple[ModuleType, CodeType]:
    """Prepare a folder or an archive with a ``__main__.py``."""
    spec = PathFinder.find_spec("__main__", [path])
    if spec is None:
        sys.exit(f"{sys.executable}: can't find '__main__' module in {path!r}")
    return _from_spec(spec)


def _module_of(script: Script) -> tuple[ModuleType, CodeType]:
    """Prepare what ``python -m name`` prepares."""
    _set_first_path(str(Path.cwd()))
    sys.argv[:] = ["-m", *script.arguments]  # what packages see while the module is looked for
    module, code = _from_spec(_find_module(script.target))
    sys.argv[0] = str(module.__file__)
    return module, code


def _find_module(name: str) -> ModuleSpec:
    """Find a module, or the ``__main__`` of a package; end as Python does where there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ImportError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the package is there and fails by itself
        spec = None
    if spec is None:
        sys.exit(f"{sys.executable}: No module named {name}")
    if spec.submodule_search_locations is not None and not name.endswith(".__main__"):
        return _find_module(f"{name}.__main__")
    return spec


def _from_spec(spec: ModuleSpec) -> tuple[ModuleType, CodeType]:
    loader = cast(InspectLoader, spec.loader)
    return _new_main(loader, spec, str(spec.origin), spec.cached), _code_of(loader, spec.name)


def _code_of(loader: InspectLoader, name: str) -> CodeType:
    code = loader.get_code(name)
    if code is None:
        sys.exit(f"{sys.executable}: No code object available for {name}")
    return code


def _new_main(loader: object, spec: ModuleSpec | None, path: str, cached: str | None) -> ModuleType:
    """Make a ``__main__`` with the attributes that Python gives to it."""
    module = ModuleType("__main__")
    module.__dict__.update(
        __loader__=loader,
        __package__=None if spec is None else spec.parent,
        __spec__=spec,
        __annotations__={},
        __builtins__=builtins,
        __file__=path,
        __cached__=cached,
    )
    return module


def _set_first_path(folder: str) -> None:
    """Put a folder where Python has put that of this program, unless it was told not to."""
    if sys.flags.safe_path:
        return
    sys.path[0] = folder
