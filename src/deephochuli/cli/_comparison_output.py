"""What ``deephochuli compare`` prints and writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from deephochuli.cli._terminal import Json, console, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deephochuli.analysis.compare import Comparison, Kept, PairComparison, Verdict

MOST_ROWS: Final = 24
"""Layers that a table shows unless all are asked for."""


class FailOn(StrEnum):
    """What makes the command fail."""

    FLIPS = "flips"
    SUSPECT = "suspect"
    DIFFERENCE = "difference"


@dataclass(slots=True)
class Results:
    """What was found."""

    comparison: Comparison | None = None
    verdict: Verdict | None = None
    kept: Kept | None = None
    pairs: PairComparison | None = None


def print_results(results: Results, *, show_all: bool, as_json: bool) -> None:
    """Print tables, the answer first, or one JSON object."""
    if as_json:
        print_json(_records(results))
        return
    out = console()
    for part in _tables(results, None if show_all else MOST_ROWS):
        out.print(part)


def _tables(results: Results, most: int | None) -> list[RenderableType]:
    from deephochuli.report import comparison_tables, kept_tables, pairs_tables, verdict_tables

    parts: list[RenderableType] = []
    if results.pairs is not None:
        parts += pairs_tables(results.pairs, most=most)
    if results.comparison is not None:
        parts += comparison_tables(results.comparison, most=most)
    if results.verdict is not None:
        parts += verdict_tables(results.verdict)
    if results.kept is not None:
        parts += kept_tables(results.kept)
    return parts


def _records(results: Results) -> Json:
    from deephochuli.report import (
        comparison_to_json,
        kept_to_json,
        pairs_to_json,
        verdict_to_json,
    )

    found: dict[str, Json] = {"comparison": None, "verdict": None, "kept": None, "pairs": None}
    if results.comparison is not None:
        found["comparison"] = comparison_to_json(results.comparison)
    if results.verdict is not None:
        found["verdict"] = verdict_to_json(results.verdict)
    if results.kept is not None:
        found["kept"] = kept_to_json(results.kept)
    if results.pairs is not None:
        found["pairs"] = pairs_to_json(results.pairs)
    return found


def write_page(results: Results, html: Path | None, title: str | None, *, quiet: bool) -> None:
    """Write the page where one was asked for, and say where it is or how to get one."""
    if html is None:
        if not quiet:
            typer.echo("Everything as a page: add --html comparison.html")
        return
    from deephochuli.report import build_comparison_report

    page = build_comparison_report(
        results.comparison,
        html,
        verdict=results.verdict,
        kept=results.kept,
        pairs=results.pairs,
        title=title,
    )
    if not quiet:
        typer.echo(page)


def is_found(results: Results, fail_on: FailOn) -> bool:
    """Whether there is what the command is to fail on."""
    if fail_on is FailOn.FLIPS:
        decided = {} if results.comparison is None else results.comparison.decisions
        return any(each.argmax_flips for each in decided.values())
    if fail_on is FailOn.SUSPECT:
        return results.verdict is not None and results.verdict.culprit is not None
    pairs = results.pairs
    return pairs is not None and any(not row.made.is_exact for row in pairs.rows)
