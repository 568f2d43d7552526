"""``deephochuli doctor``: the arithmetic of this machine, and what hides in a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from deephochuli.cli._model import built
from deephochuli.cli._report import FOUND, Severity, is_found
from deephochuli.cli._terminal import console, print_json
from deephochuli.errors import TapError

if TYPE_CHECKING:
    from deephochuli.analysis.doctor import Diagnosis

_PICKLED: Final = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_EXPECTED: Final = (
    "Expected 'module:callable' or 'path/to/file.py:callable' that returns a model, (model, "
    "optimizer), or what `deephochuli compare` takes; or a .safetensors file, or a folder that "
    "holds such files."
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
    found = built(model, _EXPECTED)
    patient = _patient(found)
    return examine(patient["model"], patient.get("optimizer"), scaler=patient.get("scaler"))


def _patient(found: object) -> Mapping[str, Any]:
    """Model, optimizer and scaler of what a callable returned.

    The one that serves ``compare`` and ``examine`` serves here, too: with a batch behind the model.
    """
    from torch import Tensor

    if isinstance(found, Mapping):
        named = cast("Mapping[str, Any]", found)
        return named if "model" in named else {"model": named}
    parts: tuple[Any, ...] = (
        cast("tuple[Any, ...]", found) if isinstance(found, tuple) else (found,)
    )
    second: Any = parts[1] if len(parts) > 1 else None
    names = ["model", "optimizer", "scaler"]
    if isinstance(second, Tensor | Mapping | tuple):
        names = ["model", "batch", "loss", "optimizer"]
    return dict(zip(names, parts, strict=False))


def _refuse(model: str) -> Diagnosis:
    raise TapError(f"{model} is no model. {_EXPECTED}")
