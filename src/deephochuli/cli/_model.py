"""Find what a user names as module:callable or file.py:callable, and call it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from deephochuli.errors import TapError, near_matches


def built(model: str, expected: str) -> object:
    """What the callable of a text such as ``train.py:build`` returns.

    Args:
        model: What the user wrote.
        expected: What it should have been, as the tail of an error message.

    Raises:
        TapError: Nothing is there, or importing or calling it fails.
    """
    source, colon, function = model.rpartition(":")
    if not colon or not source or not function:
        raise TapError(f"Cannot find {model!r}. {expected}")
    return _build(_load(source, expected), function, model)


def _load(source: str, expected: str) -> ModuleType:
    """Import the user's module, from its path or by its name, as Python would when it runs it."""
    if not source.endswith(".py"):
        return _imported(source, expected)
    path = Path(source)
    if not path.is_file():
        raise TapError(f"There is no file {source}. {expected}")
    # A file called random.py must not take the place of the module of that name.
    name = path.stem if path.stem not in sys.modules else f"_examined_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TapError(f"{source} cannot be imported. {expected}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(f"Running {source}", error) from error
    return module


def _imported(source: str, expected: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        if error.name is None or not source.startswith(error.name):
            raise TapError(f"Importing {source!r} failed: {error}.") from error
        raise TapError(f"There is no module {source!r}. {expected}") from error
    except Exception as error:
        raise _failed(f"Importing {source!r}", error) from error


def _build(module: ModuleType, function: str, model: str) -> object:
    """Call what builds the model; a model that is there already is taken as it is."""
    builder: Any = getattr(module, function, None)
    if builder is None:
        known = [name for name in vars(module) if not name.startswith("_")]
        raise TapError(
            f"{model!r}: the module has no {function!r}. {near_matches(function, known)}"
        )
    is_built = hasattr(builder, "named_parameters") and not isinstance(builder, type)
    if is_built or not callable(builder):
        return builder
    try:
        return builder()
    except Exception as error:
        raise _failed(f"Building the model with {model!r}", error) from error


def _failed(what: str, error: Exception) -> TapError:
    return TapError(
        f"{what} failed: {type(error).__name__}: {error}. Add --debug to see the traceback."
    )
