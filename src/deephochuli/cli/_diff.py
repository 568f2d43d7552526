"""``deephochuli diff``: where and when recorded runs part."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deephochuli.cli._report import FOUND, Severity, is_found
from deephochuli.cli._terminal import console, print_json
from deephochuli.errors import CompareError

if TYPE_CHECKING:
    from deephochuli.analysis.parting import Parting

MOST_ROWS: Final = 24


class FailOn(StrEnum):
    """What makes the command fail."""

    CRITICAL = "critical"
    WARNING = "warning"
    DIFFERENCE = "difference"


def diff(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Folders of runs; the first is the reference."),
    ],
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="A layer of the other runs, or the beginning of names such as 'module.', and its "
            "name in the first run; repeatable.",
        ),
    ] = None,
    replicate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a run that repeats the first with other chances, such as its seed; "
            "repeatable. Those whose manifests differ in nothing else, when not given.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page there.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every row.")] = False,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit with 1 when there are findings of this severity or a worse one, or when "
            "anything recorded differs at all."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Where and when recorded runs part: layer, quantity, direction and step."""
    from deephochuli.analysis.parting import diff as compare_runs
    from deephochuli.report import open_sources

    readers, names = open_sources(runs)
    found = compare_runs(
        readers, names=names, rename=_renamings(rename or []), replicates=replicate or None
    )
    _print(found, most=None if show_all else MOST_ROWS, as_json=as_json)
    _write(found, html, title, quiet=as_json)
    if fail_on and _fails(found, fail_on):
        raise typer.Exit(FOUND)


def _fails(found: Parting, fail_on: FailOn) -> bool:
    if fail_on is FailOn.DIFFERENCE:
        return any(pair.verdict != "equal" for pair in found.pairs)
    return is_found(found.findings, Severity(fail_on.value))


def _renamings(words: list[str]) -> dict[str, str]:
    """Renamings by the old name.

    Raises:
        CompareError: A word is no OLD=NEW.
    """
    found: dict[str, str] = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not sign or not old:
            raise CompareError(
                f"--rename {word!r}: expected OLD=NEW, such as module.= to leave 'module.' out."
            )
        found[old] = new
    return found


def _print(found: Parting, *, most: int | None, as_json: bool) -> None:
    from deephochuli.report import sheet_tables, sheets_to_json

    if as_json:
        print_json(sheets_to_json([found.sheet()]))
        return
    out = console()
    for part in sheet_tables(found.sheet(), most=most, width=out.width):
        out.print(part)


def _write(found: Parting, html: Path | None, title: str | None, *, quiet: bool) -> None:
    """Write the page where one was asked for, and say where it is or how to get one."""
    if html is None:
        if not quiet:
            typer.echo("Figures, and everything else, as a page: add --html diff.html")
        return
    from deephochuli.report import build_sheets_report

    heading = title or " · ".join(found.runs)
    lede = f"{len(found.runs)} recorded runs, each beside {found.runs[0]}."
    page = build_sheets_report([found.sheet()], html, title=heading, lede=lede)
    if not quiet:
        typer.echo(page)
