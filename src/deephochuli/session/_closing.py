"""The last words of ``deephochuli run``: what was recorded, what was found, what to do next.

All of it goes to standard error: standard output is the script's own.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from deephochuli.analysis import Finding
    from deephochuli.record import Discovery, Run

MARKS: Final = {"critical": "◆", "warning": "▲", "note": "●"}
STYLES: Final = {"critical": "bold red", "warning": "yellow", "note": "blue"}
MOST_FINDINGS: Final = 6
WIDTH_WHEN_PIPED: Final = 160


def say(text: str) -> None:
    """Say something of our own on standard error, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"deephochuli: {text}\n")
        sys.stderr.flush()


def print_closing(discovery: Discovery, folder: Path | None, *, quiet: bool) -> list[Finding]:
    """Print runs, findings and the next command.

    Args:
        discovery: What has recorded.
        folder: Where the runs lie; None if there are none.
        quiet: Whether to print nothing.

    Returns:
        The findings of all runs.
    """
    found = {run.name: _findings_of(run) for run in discovery.runs}
    if not quiet:
        out = _console()
        _print_header(discovery, folder, out)
        for run in discovery.runs:
            _print_run(run, found[run.name], out)
        for note in discovery.notes:
            out.print(shown(note), style="dim")
        if folder is not None and discovery.runs:
            out.print(f"Next: deephochuli report {shlex.quote(str(folder))}", markup=False)
    return [finding for findings in found.values() for finding in findings or ()]


def _findings_of(run: Run) -> list[Finding] | None:
    """Findings of a run; None if it holds no step."""
    from deephochuli.analysis import findings
    from deephochuli.store import open_run

    if not (run.path / "manifest.json").exists():
        return None
    opened = open_run(run.path)
    return findings(opened) if len(opened.steps["step"]) else None


def _console() -> Console:
    from rich.console import Console

    is_terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else WIDTH_WHEN_PIPED
    return Console(stderr=True, width=width, highlight=False, soft_wrap=not is_terminal)


def _print_header(discovery: Discovery, folder: Path | None, out: Console) -> None:
    n = len(discovery.runs)
    if n:
        text = f"recorded {n} models in" if n > 1 else "recorded in"
        out.print(shown(f"deephochuli: {text} {folder}"))
    elif discovery.n_optimizers == 0:
        say("Nothing was recorded: the script made no optimizer, so it trained nothing.")
    else:
        say("Nothing was recorded: no model was trained by an optimizer of the script.")


def _print_run(run: Run, findings: list[Finding] | None, out: Console) -> None:
    from rich.text import Text

    line = Text("  ")
    line.append(shown(run.name).append(""))
    line.append(f"  {run.n_steps:,} steps, {run.schedule.n_chosen:,} recorded")
    counts = Counter(finding.level for finding in findings or ())
    for level, mark in MARKS.items():
        if counts[level]:
            line.append(f"  {mark} {counts[level]} {level}", style=STYLES[level])
    if findings is None:
        line.append("  no step was completed")
    elif not findings:
        line.append("  nothing was found: no recorded number was lost to its format")
    out.print(line)
    for finding in (findings or ())[:MOST_FINDINGS]:
        out.print(_finding_line(finding))
    if findings and len(findings) > MOST_FINDINGS:
        out.print(f"    and {len(findings) - MOST_FINDINGS} more")


def shown(name: str) -> Text:
    """A name that others gave, as plain text: no markup, and no control code."""
    from rich.text import Text

    from deephochuli.report import plain

    return Text(plain(name))


def _finding_line(finding: Finding) -> Text:
    from rich.text import Text

    line = Text(f"    {MARKS[finding.level]} ", style=STYLES[finding.level])
    return line.append(shown(finding.title))
