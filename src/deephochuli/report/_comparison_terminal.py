"""Comparisons, verdicts and searches as terminal tables, in the order of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deephochuli.report._comparison_text import (
    decisions_text,
    error_text,
    executor_sentence,
    is_autocast,
    kept_sentence,
    output_error,
    pairs_sentence,
    rank,
    size,
    snippet_of,
    weights_differ,
)
from deephochuli.report._text import plain, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from deephochuli.analysis.compare import (
        Comparison,
        Kept,
        PairComparison,
        Row,
        Suspect,
        Verdict,
    )

MOST_ROWS: Final = 24
MOST_SUSPECTS: Final = 6
MOST_NAMES: Final = 8
NAME_WIDTH: Final = 44
STYLES: Final = {"clean": "bold green", "rounding": "bold yellow", "not rounding": "bold red"}
MARKS: Final = {"clean": "●", "rounding": "▲", "not rounding": "◆"}


def comparison_tables(
    comparison: Comparison, *, most: int | None = MOST_ROWS
) -> list[RenderableType]:
    """A comparison as tables for a rich console: all executions, then the layers of each.

    Args:
        comparison: What was compared.
        most: Layers to show for each execution at most, those with the largest own errors; None
            shows all. They stand in the order of execution either way.
    """
    heading = f"{comparison.model}, compared with {comparison.reference}"
    tables: list[RenderableType] = [_bold(heading), _summary(comparison)]
    for executor in comparison.executors:
        tables += _layers(comparison, executor, most)
        tables += _unmatched(comparison, executor)
    return tables


def _summary(comparison: Comparison) -> Table:
    table = _table()
    table.add_column("execution", style="bold")
    for heading in ("output off by", "loss", "argmax flips", "margin"):
        table.add_column(heading, justify="right")
    reference = comparison.losses.get(comparison.reference)
    table.add_row(plain(comparison.reference), "", _loss(reference, None), "", "", style="dim")
    for name in comparison.executors:
        total = output_error(comparison, name)
        decisions = comparison.decisions.get(name)
        margin = "–" if decisions is None or not decisions.n else size(decisions.margin)
        table.add_row(
            plain(name),
            error_text(total) or "–",
            _loss(comparison.losses.get(name), reference),
            decisions_text(decisions),
            margin,
        )
    return table


def _loss(loss: float | None, reference: float | None) -> str:
    if loss is None:
        return "–"
    return f"{loss:.6g}" if reference is None else f"{loss:.6g} ({loss - reference:+.2g})"


def _layers(comparison: Comparison, executor: str, most: int | None) -> list[RenderableType]:
    """The layers of one execution; what is exact in every direction is only counted."""
    from rich.text import Text

    by_call: dict[tuple[str, int], list[Row]] = {}
    for row in comparison.of(executor):
        by_call.setdefault(row.call, []).append(row)
    erring = {
        call: rows
        for call, rows in by_call.items()
        if any(not row.local.is_exact or row.sign_flips for row in rows)
    }
    worst_first = sorted(erring, key=lambda call: -max(map(rank, erring[call])))
    chosen = set(worst_first[:most])
    table = _layer_table()
    for call, rows in erring.items():
        if call in chosen:
            table.add_row(*_layer_cells(rows))
    left_out, exact = len(erring) - len(chosen), len(by_call) - len(erring)
    notes = [f"{exact} {'layer is' if exact == 1 else 'layers are'} exact"] if exact else []
    if left_out > 0:
        notes.append(f"{left_out} layers err less than these; --all shows them")
    parts: list[RenderableType] = [_bold(executor_sentence(comparison, executor))]
    parts += [table] if chosen else []
    return [*parts, Text("; ".join(notes) + ".\n", style="dim")] if notes else parts


def _layer_table() -> Table:
    table = _table()
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    for heading in (
        *("own error", "inherited", "× fp32", "max ulps", "sign flips"),
        *("backward: own", "× fp32", "gradient: own", "× fp32", "update: own"),
    ):
        table.add_column(heading, justify="right")
    return table


def _layer_cells(rows: list[Row]) -> list[str]:
    """One layer: its forward, its backward, and the worst of its parameters."""
    forward, backward, gradient, update = (
        max((row for row in rows if row.direction == direction), key=rank, default=None)
        for direction in ("forward", "backward", "gradient", "update")
    )
    flips = "" if forward is None or not forward.sign_flips else str(forward.sign_flips)
    return [
        shortened(rows[0].layer, NAME_WIDTH),
        _own(forward),
        _inherited(forward),
        _ratio(forward),
        "" if forward is None or forward.local.is_exact else size(forward.local.max_ulps),
        flips,
        _own(backward),
        _ratio(backward),
        _own(gradient),
        _ratio(gradient),
        _own(update),
    ]


def _own(row: Row | None) -> str:
    return "" if row is None else error_text(row.local)


def _inherited(row: Row | None) -> str:
    return "" if row is None else error_text(row.inherited)


def _ratio(row: Row | None) -> str:
    return "" if row is None or row.ratio != row.ratio else size(row.ratio)


def _unmatched(comparison: Comparison, executor: str) -> list[RenderableType]:
    from rich.text import Text

    calls = comparison.unmatched.get(executor, ())
    if not calls:
        return []
    names = _some([shortened(path or "(model)", NAME_WIDTH) for path, _ in calls])
    text = f"Not compared, being on one side only or of another shape: {names}."
    return [Text(text, style="yellow")]


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def verdict_tables(verdict: Verdict) -> list[RenderableType]:
    """A verdict as text for a rich console: the sentence, what to do, and the other suspects."""
    from rich.text import Text

    style = STYLES[verdict.kind]
    text = Text(f"{MARKS[verdict.kind]} {plain(verdict.execution or 'verdict')}: ", style=style)
    text.append(plain(str(verdict)), style="not bold default")
    if verdict.mechanism is not None:
        text.append(f"\n→ {plain(verdict.mechanism.advice)}", style="not bold green")
    samples = plain(", ".join(verdict.floor.samples))
    text.append(
        f"\n  floor measured with {samples}; {verdict.n_runs} model runs", style="not bold dim"
    )
    parts: list[RenderableType] = [text]
    if len(verdict.suspects) > 1:
        n = len(verdict.suspects)
        parts.append(_bold(f"{n} places above the floor, in the order of the computation"))
        parts.append(_suspects(verdict.suspects))
    return parts


def _suspects(suspects: tuple[Suspect, ...]) -> Table:
    table = _table()
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    table.add_column("direction")
    for heading in ("own error", "times the floor"):
        table.add_column(heading, justify="right")
    for each in suspects[:MOST_SUSPECTS]:
        what = each.direction + (f" of {plain(each.parameter)}" if each.parameter else "")
        layer = shortened(each.layer, NAME_WIDTH)
        table.add_row(layer, what, error_text(each.error), size(each.times_floor))
    if len(suspects) > MOST_SUSPECTS:
        table.add_row(f"… and {len(suspects) - MOST_SUSPECTS} more", "", "", "")
    return table


def kept_tables(kept: Kept) -> list[RenderableType]:
    """Layers to keep as tables for a rich console, with the code that keeps them."""
    from rich.text import Text

    table = _table()
    table.add_column("")
    for heading in ("output", "gradients"):
        table.add_column(heading, justify="right")
    for name, outcome in (
        (f"all in {plain(kept.low)}", kept.all_low),
        ("with these kept", kept.reached),
        ("budget", kept.budget),
    ):
        table.add_row(name, size(outcome.output), size(outcome.gradient))
    parts: list[RenderableType] = [_bold(kept_sentence(kept)), table]
    if kept.layers:
        parts.append(Text("\n".join(f"  {plain(name)}" for name in kept.layers), style="bold"))
    if is_autocast(kept.low):
        code = "\n".join(f"    {plain(line)}" for line in snippet_of(kept).splitlines())
        parts.append(Text(code, style="cyan"))
    parts.append(Text(f"{kept.n_runs} model runs", style="dim"))
    return parts


def pairs_tables(pairs: PairComparison, *, most: int | None = MOST_ROWS) -> list[RenderableType]:
    """Two executions side by side as tables for a rich console."""
    from rich.text import Text

    is_same = all(row.made.is_exact for row in pairs.rows)
    mark, style = ("●", "bold green") if is_same else ("▲", "bold yellow")
    parts: list[RenderableType] = [Text(f"{mark} {plain(pairs_sentence(pairs))}", style=style)]
    if weights_differ(pairs):
        parts.append(Text(_OTHER_START, style="bold red"))
    if pairs.environment:
        parts += [_bold("What differs of the two executions"), _environment(pairs)]
    parts += _pair_layers(pairs, most)
    for name, calls in ((pairs.first, pairs.only_first), (pairs.second, pairs.only_second)):
        if calls:
            names = _some([shortened(path or "(model)", NAME_WIDTH) for path, _ in calls])
            parts.append(Text(f"Only in {plain(name)}: {names}.", style="yellow"))
    for (path, _), text in pairs.shapes[:MOST_NAMES]:
        parts.append(Text(f"Not compared: {plain(path or '(model)')}, whose {plain(text)}."))
    return parts


_OTHER_START: Final = (
    "◆ The two did not begin with the same weights and the same batch, so this is no statement "
    "about arithmetic: save both with equal weights (load_state_dict) and an equal batch."
)


def _environment(pairs: PairComparison) -> Table:
    table = _table()
    table.add_column("")
    table.add_column(plain(pairs.first), overflow="fold")
    table.add_column(plain(pairs.second), overflow="fold")
    for name, first, second in pairs.environment:
        table.add_row(plain(name), plain(first), plain(second))
    return table


def _pair_layers(pairs: PairComparison, most: int | None) -> list[RenderableType]:
    from rich.text import Text

    rows = [row for row in pairs.rows if not row.made.is_exact]
    if not rows:
        return []
    kept = rows[:most]
    table = _table()
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    table.add_column("direction")
    for heading in ("given", "made", "max ulps"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in kept:
        given = error_text(row.given)
        cells = (
            given,
            error_text(row.made),
            size(row.made.max_ulps),
            "◄ starts" if row.starts else "",
        )
        what = row.direction + (f" of {plain(row.parameter)}" if row.parameter else "")
        table.add_row(shortened(row.layer, NAME_WIDTH), what, *cells)
    notes = [f"{len(pairs.rows) - len(rows)} of {len(pairs.rows)} comparisons are exact"]
    if len(rows) > len(kept):
        notes.append(f"{len(rows) - len(kept)} later ones are not shown; --all shows them")
    heading = _bold(f"{pairs.second} minus {pairs.first}, relative")
    return [heading, table, Text("; ".join(notes) + ".\n", style="dim")]


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def _bold(title: str) -> Text:
    from rich.text import Text

    return Text(plain(title), style="bold")
