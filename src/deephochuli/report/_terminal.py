"""The findings as terminal tables: the same story as the page, in the same order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from deephochuli.analysis import LEVELS, Finding
from deephochuli.report._text import number_text, plain, shortened, sparkline
from deephochuli.sketch import Sketch
from deephochuli.store import RunReader

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

STYLES: Final = {"critical": "bold red", "warning": "yellow", "note": "blue"}
MARKS: Final = {"critical": "◆", "warning": "▲", "note": "●"}
MOST_PLACES: Final = 3
MOST_BINADES: Final = 36
NOTHING: Final = "Nothing was found: what was lost, if anything, is too little to be reported."


def findings_table(
    found: Mapping[str, Sequence[Finding]], *, runs: Mapping[str, RunReader] | None = None
) -> list[RenderableType]:
    """Findings of one run or of several as tables for a rich console.

    Args:
        found: Findings by name of the run, worst first.
        runs: The runs by the same names; with them each finding shows where its numbers lie, as a
            histogram of binades in one line.

    Returns:
        One table per run, then the next command to try. Names from a run are escaped, so that
        none of them is markup or a control code.
    """
    from rich.text import Text

    tables: list[RenderableType] = [
        table_of(name, findings, run=None if runs is None else runs.get(name))
        for name, findings in found.items()
    ]
    first = next(iter(found), "RUN") if runs is None else _first_path(runs)
    return [*tables, Text(f"Next: deephochuli fit {plain(first)}", style="dim")]


def _first_path(runs: Mapping[str, RunReader]) -> str:
    """Folder of the first run."""
    return next((str(run.path) for run in runs.values()), "RUN")


def table_of(
    name: str, findings: Sequence[Finding], *, run: RunReader | None = None, nothing: str = NOTHING
) -> Table:
    """Findings about one thing under its name, or what to say when there are none."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_header=False,
        title=_title(name, findings),
        title_justify="left",
        padding=(0, 2, 1, 0),
    )
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for finding in findings:
        table.add_row(_level(finding), _cell(finding, run))
    if not findings:
        table.add_row("", nothing)
    return table


def _title(name: str, findings: Sequence[Finding]) -> Text:
    """Name of the run and how many findings of each level it has."""
    from rich.text import Text

    counts = Counter(finding.level for finding in findings)
    title = Text(plain(name), style="bold")
    for level in LEVELS:
        if counts[level]:
            title.append(f"   {MARKS[level]} {counts[level]} {level}", style=STYLES[level])
    return title


def _level(finding: Finding) -> Text:
    """Severity as a mark and a word, so that colour is not needed."""
    from rich.text import Text

    return Text(f"{MARKS[finding.level]} {finding.level}", style=STYLES[finding.level])


def _cell(finding: Finding, run: RunReader | None) -> Text:
    """What, where, how much, and what to do."""
    from rich.text import Text

    text = Text(plain(finding.title), style="bold")
    text.append(f"\n{plain(finding.summary)}", style="not bold")
    for number in finding.numbers:
        text.append(f"\n  {plain(number.label)}: ", style="not bold dim")
        text.append(number_text(number), style="bold")
    if run is not None:
        text.append(_histogram_line(finding, run), style="not bold cyan")
    if len(finding.places) > 1:
        text.append(f"\n  hit hardest: {_places(finding)}", style="not bold dim")
    text.append(f"\n→ {plain(finding.advice)}", style="not bold green")
    for line in finding.code.splitlines():
        text.append(f"\n    {plain(line)}", style="not bold cyan")
    return text


def _places(finding: Finding) -> str:
    """The worst places by name, and how many there are besides."""
    named = ", ".join(shortened(place.layer, 48) for place in finding.places[:MOST_PLACES])
    more = len(finding.places) - MOST_PLACES
    return f"{named} and {more} more" if more > 0 else named


def _histogram_line(finding: Finding, run: RunReader) -> str:
    """Binades of the numbers at the place of a finding, smallest on the left."""
    known = any((t.layer, t.quantity) == (finding.layer, finding.quantity) for t in run.taps())
    if not known:
        return ""
    merged = run.whole(finding.layer, finding.quantity)
    line = binade_line(Sketch.from_counts(merged.key, merged.count, 0.0, 0.0, 0.0, 0.0))
    return f"\n  {plain(finding.quantity)} {line}" if line else ""


def binade_line(sketch: Sketch) -> str:
    """A histogram of binades in one line: exponents at the ends, heights as blocks.

    Example:
        >>> import numpy as np
        >>> keys = np.array([0x3FD0, 0x3FE0, 0x3FF0], np.uint16)
        >>> binade_line(Sketch.from_counts(keys, np.array([2, 8, 4]), 0.0, 0.0, 0.25, 1.0))
        '2^-2 ▂█▄ 2^0'
    """
    binades = sketch.binades()
    if not binades:
        return ""
    low, high = min(binades), max(binades)
    width = -(-(high - low + 1) // MOST_BINADES)
    heights = [
        sum(binades.get(exponent, 0) for exponent in range(start, start + width))
        for start in range(low, high + 1, width)
    ]
    return f"2^{low} {sparkline(heights)} 2^{high}"
