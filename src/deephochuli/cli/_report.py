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

FOUND = 1


class Severity(StrEnum):
    """From which severity on findings make the command fail."""

    CRITICAL = "critical"
    WARNING = "warning"


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of recorded runs to compare.")
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
    from deephochuli.report import build_report, findings_table, to_json, write_figures
    from deephochuli.store import open_run

    opened = {path: open_run(path) for path in runs}
    found = {path.name: findings(run) for path, run in opened.items()}
    if as_json:
        print_json(to_json(found))
    else:
        out = console()
        for table in findings_table(found):
            out.print(table)
    page = _page_of(runs, html) if html or not as_json else None
    if figures:
        write_figures(runs, figures)
    if page:
        build_report(runs, page, title=title)
        if open_page:
            typer.launch(str(page))
        if not as_json:
            typer.echo(page)
    if fail_on and is_found([f for one in found.values() for f in one], fail_on):
        raise typer.Exit(FOUND)


def _page_of(runs: Sequence[Path], html: Path | None) -> Path:
    """Beside the run, never inside: a run folder holds what was recorded and nothing else."""
    return html or runs[0].absolute().with_name(f"{runs[0].absolute().name}.html")


def is_found(found: Sequence[Finding], severity: Severity) -> bool:
    """Whether any finding is of a severity or of a worse one."""
    from deephochuli.analysis import LEVELS

    worst_first = LEVELS[: LEVELS.index(severity.value) + 1]
    return any(finding.level in worst_first for finding in found)
