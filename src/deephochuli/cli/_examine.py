"""``deephochuli examine``: ask a model, or a run, and show the answers as tables and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from deephochuli.cli._compare import explained
from deephochuli.cli._questions import (
    DEFAULT,
    QUESTIONS,
    Asked,
    answered,
    question_of,
    settable,
    takes,
)
from deephochuli.cli._report import FOUND, Severity, is_found
from deephochuli.cli._terminal import console, print_json
from deephochuli.errors import CompareError, near_matches

if TYPE_CHECKING:
    from deephochuli.analysis import Sheet

MOST_ROWS: Final = 24
_ASKS: Final = "; ".join(f"{name}: {each.asks}" for name, each in QUESTIONS.items())
_EXPECTED_DATA: Final = (
    "Expected 'module:callable' or 'path/to/file.py:callable' that returns batches, each an input "
    "or (input, target), or (batches, loss) with a loss of output and target."
)


def examine(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL | RUN",
            help="module:callable or file.py:callable that returns (model, batch), with a loss "
            "and an optimizer after them if there are; or the folder of a recorded run.",
        ),
    ],
    question: Annotated[
        list[str] | None,
        typer.Option("--question", "-q", help=f"What to ask; repeatable. {_ASKS}."),
    ] = None,
    arithmetic: Annotated[
        list[str] | None,
        typer.Option("--arithmetic", "-a", help="As if computed in it; repeatable."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="module:callable or file.py:callable that returns batches, or (batches, loss), "
            "for questions about more than one batch."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another argument of the analysis; repeatable."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page there.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
    fail_on: Annotated[
        Severity | None,
        typer.Option(help="Exit with 1 when there are findings of this severity or a worse one."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Ask questions about what floating-point arithmetic does inside a model."""
    if Path(model).is_dir():
        sheets, name = sheets_of_run(Path(model), question or []), Path(model).resolve().name
    else:
        sheets, name = _of_model(model, question, arithmetic or [], data, option or [], seed)
    _print(sheets, as_json=as_json, most=None if show_all else MOST_ROWS)
    _write(sheets, html, title or f"{name}, examined", model, quiet=as_json)
    if fail_on and is_found([found for sheet in sheets for found in sheet.findings], fail_on):
        raise typer.Exit(FOUND)


def _of_model(
    model: str,
    question: list[str] | None,
    arithmetic: list[str],
    data: str | None,
    option: list[str],
    seed: int,
) -> tuple[list[Sheet], str]:
    """Ask a model; its answers, and what it is."""
    names = list(dict.fromkeys(question or DEFAULT))
    for name in names:
        question_of(name)  # a mistyped name is told before the model is built
    asked = _asked(model, data, seed)
    options = _options(names, option)
    sheets: list[Sheet] = []
    for name in names:
        with explained(model):
            sheets += answered(name, asked, arithmetic, options)
    return distinct(sheets), type(asked.model).__name__


def sheets_of_run(folder: Path, question: list[str]) -> list[Sheet]:
    """Ask a recorded run what it can answer without the model; everything if nothing is named.

    Raises:
        CompareError: A question needs the model.
        StoreError: The folder holds no run.
    """
    from deephochuli.analysis.run_sheets import QUESTIONS as OF_RUNS
    from deephochuli.store import open_run

    for name in question:
        if name not in OF_RUNS:
            known = f"A run answers {', '.join(OF_RUNS)}."
            needs = "needs the model, not a run" if name in QUESTIONS else "is no question"
            raise CompareError(f"{name!r} {needs}. {known}")
    run = open_run(folder)
    return [OF_RUNS[name](run) for name in dict.fromkeys(question or OF_RUNS)]


def _asked(model: str, data: str | None, seed: int) -> Asked:
    """The model with its batch, and the data if there are."""
    from deephochuli.cli._task import parts_of

    parts = parts_of(model)
    batches, loss = (None, None) if data is None else _data_of(data)
    return Asked(
        model=parts.model,
        batch=parts.batch,
        loss=parts.loss,
        optimizer=parts.optimizer,
        data=batches,
        data_loss=loss,
        seed=seed,
    )


def _data_of(name: str) -> tuple[Any, Any]:
    """Batches, and the loss if there is one.

    Raises:
        CompareError: It is neither.
    """
    from deephochuli.cli._model import built

    found = built(name, _EXPECTED_DATA)
    batches, loss = found, None
    if isinstance(found, tuple):
        both = cast("tuple[Any, ...]", found)
        if len(both) == 2 and callable(both[1]):
            batches, loss = both
    if isinstance(batches, str | bytes | Mapping) or not hasattr(batches, "__iter__"):
        what = type(cast("object", batches)).__name__
        raise CompareError(f"{name!r} returns a {what}, which holds no batches. {_EXPECTED_DATA}")
    return batches, loss


def _options(names: list[str], words: list[str]) -> dict[str, str]:
    """Options by name.

    Raises:
        CompareError: A word is no NAME=VALUE, or no question takes the name.
    """
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise CompareError(f"--set {word!r}: expected NAME=VALUE, such as n_samples=16.")
        if not any(takes(name, key) for name in names):
            known = near_matches(key, settable(names))
            raise CompareError(f"No question asked takes {key!r}. {known}")
        found[key] = value
    return found


def distinct(sheets: list[Sheet]) -> list[Sheet]:
    """Sheets with keys that differ, where one question was asked in several arithmetics.

    Example:
        >>> from deephochuli.analysis import Sheet
        >>> same = [Sheet("a", "A", "?", "."), Sheet("a", "A", "?", ".")]
        >>> [(sheet.key, sheet.title) for sheet in distinct(same)]
        [('a', 'A'), ('a-2', 'A (2)')]
    """
    seen: dict[str, int] = {}
    found: list[Sheet] = []
    for sheet in sheets:
        n = seen[sheet.key] = seen.get(sheet.key, 0) + 1
        again = {"key": f"{sheet.key}-{n}", "title": f"{sheet.title} ({n})"}
        found.append(replace(sheet, **again) if n > 1 else sheet)
    return found


def _print(sheets: list[Sheet], *, as_json: bool, most: int | None) -> None:
    from deephochuli.report import sheet_tables, sheets_to_json

    if as_json:
        print_json(sheets_to_json(sheets))
        return
    out = console()
    for sheet in sheets:
        for part in sheet_tables(sheet, most=most, width=out.width):
            out.print(part)


def _write(sheets: list[Sheet], html: Path | None, title: str, model: str, *, quiet: bool) -> None:
    """Write the page where one was asked for, and say where it is or how to get one."""
    if html is None:
        if not quiet:
            typer.echo("Figures, and everything else, as a page: add --html answers.html")
        return
    from deephochuli.report import build_sheets_report

    page = build_sheets_report(sheets, html, title=title, lede=f"Asked about {model}.")
    if not quiet:
        typer.echo(page)
