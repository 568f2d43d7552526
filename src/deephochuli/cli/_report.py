"""``deephochuli report``: findings in the terminal, everything else in one HTML file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deephochuli.cli._terminal import console, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deephochuli.analysis import Finding
    from deephochuli.store import RunReader

FOUND = 1


class Severity(StrEnum):
    """From which severity on findings make the command fail."""

    CRITICAL = "critical"
    WARNING = "warning"


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs to compare.")
    ],
    html: Annotated[
        Path | None,
        typer.Option(help="Where to write the page; beside the first run when not given."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write static figures there.")
    ] = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(help="Exit with 1 when there are findings of this severity or a worse one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON; write no page unless asked.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the page in the browser.")
    ] = False,
) -> None:
    """Findings of runs, and the full report as HTML."""
    from deephochuli.analysis import findings
    from deephochuli.report import build_report, open_sources, read_ahead

    readers, names = open_sources(runs)
    read_ahead(readers)
    opened = dict(zip(names, readers, strict=True))
    found = {name: findings(run) for name, run in opened.items()}
    _print_findings(found, opened, as_json)
    if figures:
        from deephochuli.report import write_figures

        write_figures(readers, figures)
    if html or not as_json:
        known = list(found.values())
        page = build_report(readers, html or _page_of(runs), title=title, known=known)
        _show_page(page, quiet=as_json, opens=open_page)
    if fail_on and is_found([f for one in found.values() for f in one], fail_on):
        raise typer.Exit(FOUND)


def _print_findings(
    found: dict[str, list[Finding]], opened: dict[str, RunReader], as_json: bool
) -> None:
    from deephochuli.report import findings_table, to_json

    if as_json:
        print_json(to_json(found))
        return
    out = console()
    for table in findings_table(found, runs=opened):
        out.print(table)


def _page_of(folders: list[Path]) -> Path | None:
    """Where the page of a folder of runs lies: beside that folder, not in it."""
    first = folders[0].absolute()
    is_run = len(folders) > 1 or (first / "manifest.json").exists()
    return None if is_run else first.with_name(f"{first.name}.html")


def _show_page(page: Path, *, quiet: bool, opens: bool) -> None:
    """Say where the page is, and show it if that was asked for."""
    if opens:
        typer.launch(str(page))
    if not quiet:
        typer.echo(page)


def is_found(found: Sequence[Finding], severity: Severity) -> bool:
    """Whether any finding is of a severity or of a worse one."""
    from deephochuli.analysis import LEVELS

    worst_first = LEVELS[: LEVELS.index(severity.value) + 1]
    return any(finding.level in worst_first for finding in found)
