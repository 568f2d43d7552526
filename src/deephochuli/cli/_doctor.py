"""``deephochuli doctor``: the arithmetic of this machine, and what hides in a model."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from deephochuli.cli._report import FOUND, Severity, is_found
from deephochuli.cli._terminal import console, print_json
from deephochuli.errors import TapError, near_matches

if TYPE_CHECKING:
    from deephochuli.analysis.doctor import Diagnosis

_PICKLED: Final = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_EXPECTED: Final = (
    "Expected 'module:callable' or 'path/to/file.py:callable' that returns a model, or (model, "
    "optimizer); or a .safetensors file, or a folder that holds such files."
)


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="module:callable or file.py:callable that returns a model or (model, optimizer), "
            "or a .safetensors file or folder; the machine alone when not given.",
        ),
    ] = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(help="Exit with 1 when there are findings of this severity or a worse one."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What arithmetic this machine really uses, and what hides in a model."""
    diagnosis = _examine(model)
    name = model or ""
    if as_json:
        from deephochuli.report import diagnosis_to_json

        print_json(diagnosis_to_json(diagnosis, name))
    else:
        from deephochuli.report import diagnosis_tables

        out = console()
        for table in diagnosis_tables(diagnosis, name):
            out.print(table)
    if fail_on and is_found(diagnosis.findings, fail_on):
        raise typer.Exit(FOUND)


def _examine(model: str | None) -> Diagnosis:
    from deephochuli.analysis.doctor import doctor as examine

    if model is None:
        return examine()
    path = Path(model)
    if path.suffix.lower() in _PICKLED:
        raise TapError(
            f"{model} is not read: files of this kind are pickles, and reading one can run code "
            "that somebody put into it. Save the tensors with safetensors, or give "
            "'file.py:callable' that loads the model."
        )
    if path.exists() and ":" not in path.name:
        return examine(path) if path.is_dir() or path.suffix == ".safetensors" else _refuse(model)
    source, colon, function = model.rpartition(":")
    if not colon or not source or not function:
        raise TapError(f"Cannot find {model!r}. {_EXPECTED}")
    built = _build(_load(source), function, model)
    parts = list(cast("tuple[object, ...]", built)) if isinstance(built, tuple) else [built]
    given: list[Any] = [*parts, None, None][:3]
    return examine(given[0], given[1], scaler=given[2])


def _refuse(model: str) -> Diagnosis:
    raise TapError(f"{model} is no model. {_EXPECTED}")


def _load(source: str) -> ModuleType:
    """Import the user's module, from its path or by its name, as Python would when it runs it."""
    if not source.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            if error.name is None or not source.startswith(error.name):
                raise TapError(f"Importing {source!r} failed: {error}.") from error
            raise TapError(f"There is no module {source!r}. {_EXPECTED}") from error
        except Exception as error:
            raise _failed(f"Importing {source!r}", error) from error
    path = Path(source)
    if not path.is_file():
        raise TapError(f"There is no file {source}. {_EXPECTED}")
    # A file called random.py must not take the place of the module of that name.
    name = path.stem if path.stem not in sys.modules else f"_examined_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TapError(f"{source} cannot be imported. {_EXPECTED}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.absolute()))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(f"Running {source}", error) from error
    return module


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
