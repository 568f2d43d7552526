"""The last words of ``deephochuli run``: what was recorded, what was found, what to do next.

All of it goes to standard error: standard output is the script's own.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
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


def shown_path(path: Path, start: Path) -> Path:
    """A path as it is read where the process was started."""
    return path.relative_to(start) if path.is_relative_to(start) else path


def print_closing(discovery: Discovery, start: Path, *, quiet: bool) -> list[Finding]:
    """Print runs, findings and the next command.

    Args:
        discovery: What has recorded.
        start: The folder in which the process was started.
        quiet: Whether to print nothing.

    Returns:
        The findings of all runs.
    """
    held = [(run, _held_by(run)) for run in discovery.runs]
    if not quiet:
        out = _console()
        homes = list(dict.fromkeys(shown_path(run.home.parent, start) for run in discovery.runs))
        _print_header(discovery, homes, out)
        for run, content in held:
            _print_run(run, content, out)
        for note in discovery.notes:
            out.print(shown(note), style="dim")
        if homes:
            words = " ".join(shlex.quote(str(home)) for home in homes)
            out.print(f"Next: deephochuli report {words}", markup=False)
    return [finding for _, content in held if content for finding in content.findings]


@dataclass(frozen=True, slots=True)
class _Held:
    """What a run folder holds in the end: recorded steps of all sessions, and findings."""

    n_recorded: int
    findings: list[Finding]


def _held_by(run: Run) -> _Held | None:
    """What a run holds; None if there is no step in it."""
    from deephochuli.analysis import findings
    from deephochuli.store import open_run

    if not (run.path / "manifest.json").exists():
        return None
    opened = open_run(run.path)
    n_recorded = len(opened.steps["step"])
    return _Held(n_recorded, findings(opened)) if n_recorded else None


def _console() -> Console:
    from rich.console import Console

    is_terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else WIDTH_WHEN_PIPED
    return Console(stderr=True, width=width, highlight=False, soft_wrap=not is_terminal)


def _print_header(discovery: Discovery, homes: list[Path], out: Console) -> None:
    n = len(discovery.runs)
    if n:
        text = f"recorded {n} models in" if n > 1 else "recorded in"
        out.print(shown(f"deephochuli: {text} {', '.join(map(str, homes))}"))
    elif discovery.n_optimizers == 0:
        say("Nothing was recorded: the script made no optimizer, so it trained nothing.")
    else:
        say("Nothing was recorded: no model was trained by an optimizer of the script.")


def _print_run(run: Run, held: _Held | None, out: Console) -> None:
    from rich.text import Text

    found = held.findings if held else []
    line = Text("  ")
    line.append(shown(run.name).append(""))
    line.append(f"  {run.n_steps:,} steps, {held.n_recorded if held else 0:,} recorded")
    counts = Counter(finding.level for finding in found)
    for level, mark in MARKS.items():
        if counts[level]:
            line.append(f"  {mark} {counts[level]} {level}", style=STYLES[level])
    if held is None:
        line.append("  no step was completed")
    elif not found:
        line.append("  nothing was found: what was lost, if anything, is too little to be reported")
    out.print(line)
    for finding in found[:MOST_FINDINGS]:
        out.print(_finding_line(finding))
    if len(found) > MOST_FINDINGS:
        out.print(f"    and {len(found) - MOST_FINDINGS} more")


def shown(name: str) -> Text:
    """A name that others gave, as plain text: no markup, and no control code."""
    from rich.text import Text

    from deephochuli.report import plain

    return Text(plain(name))


def _finding_line(finding: Finding) -> Text:
    from rich.text import Text

    line = Text(f"    {MARKS[finding.level]} ", style=STYLES[finding.level])
    return line.append(shown(finding.title))
