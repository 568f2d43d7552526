"""One frame of the terminal view: how the run goes, what it lost, and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deephochuli.analysis import Finding, findings, percent
from deephochuli.live._pulse import (
    Courses,
    LayerLoss,
    Pulse,
    courses_of,
    points_of,
    pulse_of,
    worst_layers,
)
from deephochuli.live._watched import OVER, Phase, Watched
from deephochuli.report import MARKS, NOTHING, STYLES, plain, shortened, sparkline

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

MOST_LAYERS: Final = 6
MOST_FINDINGS: Final = 8
LAYER_WIDTH: Final = 48
PHASE_STYLES: Final = {
    Phase.WAITING: "dim",
    Phase.RECORDING: "bold green",
    Phase.ENDED: "bold",
    Phase.INTERRUPTED: "bold yellow",
    Phase.UNREADABLE: "bold red",
}
NOTHING_YET: Final = "Nothing was found so far."


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a run that has recorded steps.

    Attributes:
        courses: Curves over the steps.
        layers: Layers that lost the most.
        findings: What the analyses say, worst first.
    """

    courses: Courses
    layers: tuple[LayerLoss, ...]
    findings: tuple[Finding, ...]


def see(run: Watched) -> Seen | None:
    """Ask a run everything that a frame shows; None before the first recorded step."""
    if run.reader is None or run.n_steps == 0:
        return None
    reader = run.reader
    layers = tuple(worst_layers(reader, MOST_LAYERS))
    return Seen(courses_of(reader), layers, tuple(findings(reader)))


def frame(run: Watched, seen: Seen | None) -> RenderableType:
    """The frame for a rich console. Names from a run are text: no markup, no control codes."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_head(run)]
    if run.note:
        parts.append(Text(plain(run.note)))
    if run.reader is not None:
        parts.append(_pulse(pulse_of(run.reader), seen, run.phase))
    if seen is not None:
        if seen.layers:
            parts.append(_layers(seen.layers))
        parts.append(_findings(seen.findings, is_over=run.is_over))
    return Group(*parts)


def _head(run: Watched) -> Text:
    """Name and phase."""
    from rich.text import Text

    head = Text(plain(str(run.path)), style="bold")
    head.append(f"   {run.phase.value}", style=PHASE_STYLES[run.phase])
    return head


def _pulse(pulse: Pulse, seen: Seen | None, phase: Phase) -> Table:
    """Numbers that change, each with its curve where it has one."""
    table = _empty("label", "value", "curve")
    for label, value, curve in _pulse_rows(pulse, seen, phase):
        table.add_row(label, value, curve)
    return table


def _pulse_rows(pulse: Pulse, seen: Seen | None, phase: Phase) -> list[tuple[str, str, str]]:
    rows = [("recorded", _recorded(pulse, phase), "")]
    if pulse.steps_per_s is not None:
        rows.append(("rate", f"{pulse.steps_per_s:,.3g} steps/s", ""))
    if pulse.chunk_age_s is not None and phase is Phase.RECORDING:
        rows.append(("last chunk", f"{duration(pulse.chunk_age_s)} ago", ""))
    if seen is None:
        return rows
    courses = seen.courses
    if pulse.loss is not None:
        rows.append(("loss", f"{pulse.loss:.5g}", curve_of(points_of(courses.loss))))
    for label, shares in (
        ("subnormal gradients", courses.subnormal),
        ("swamped updates", courses.swamped),
    ):
        last = next((share for share in reversed(shares) if not math.isnan(share)), None)
        if last is not None:
            rows.append((label, percent(last), curve_of(shares)))
    return rows


def _recorded(pulse: Pulse, phase: Phase) -> str:
    if pulse.last_step is None:
        return "no step" if phase in OVER else "no step yet"
    return f"{pulse.n_steps:,} steps, the last is {pulse.last_step:,}"


def _layers(layers: Sequence[LayerLoss]) -> Table:
    """Layers that lost the most."""
    from rich.text import Text

    table = _empty("hit hardest", "swamped updates", "subnormal gradients", heads=True)
    for layer in layers:
        shares = (_share(share) for share in (layer.swamped, layer.subnormal))
        table.add_row(Text(shortened(layer.layer, LAYER_WIDTH)), *shares)
    return table


def _share(share: float) -> str:
    return "" if math.isnan(share) else percent(share)


def _findings(found: Sequence[Finding], *, is_over: bool) -> Table:
    """One line a finding: the full text is in the report."""
    from rich.text import Text

    table = _empty("level", "title")
    for finding in found[:MOST_FINDINGS]:
        style = STYLES[finding.level]
        level = Text(f"{MARKS[finding.level]} {finding.level}", style=style)
        table.add_row(level, Text(plain(finding.title)))
    if len(found) > MOST_FINDINGS:
        table.add_row("", f"and {len(found) - MOST_FINDINGS} more: deephochuli report")
    if not found:
        table.add_row("", NOTHING if is_over else NOTHING_YET)
    return table


def _empty(*columns: str, heads: bool = False) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, show_header=heads, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def curve_of(values: Sequence[float]) -> str:
    """A curve of numbers in [0, 1] in one line; a gap where there is none.

    Example:
        >>> curve_of([0.0, 0.5, 1.0, math.nan, 1.0])
        '▁▄█ █'
    """
    return "".join(
        " " if math.isnan(value) else sparkline([max(value, 1e-9), 1.0])[0] for value in values
    )


def duration(seconds: float) -> str:
    """A time span as people say it.

    Example:
        >>> duration(4.2), duration(75), duration(7260)
        ('4 s', '1 min 15 s', '2 h 1 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
