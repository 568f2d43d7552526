"""What studies will cost, told before they start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import typer

from deephochuli.cli._terminal import console, print_json

if TYPE_CHECKING:
    from deephochuli.studies import Estimate


def duration(seconds: float) -> str:
    """A time in words, rounded up."""
    if seconds == 0:
        return "0 s"
    if seconds < 60:
        return f"about {math.ceil(seconds)} s"
    if seconds < 120 * 60:
        return f"about {math.ceil(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def in_words(left: Estimate, n_workers: int | None) -> str:
    """The estimate in a sentence, with the time that passes where the workers are known."""
    n_points = sum(each.n_points for each in left.studies)
    text = f"{left.n_left} of {n_points} points to measure: {duration(left.seconds)} of CPU time"
    if n_workers is None:
        return f"{text}; --workers N tells the time that passes on N workers of the cluster."
    plural = "s" if n_workers > 1 else ""
    return f"{text}, {duration(left.elapsed(n_workers))} on {n_workers} worker{plural}."


def print_estimate(left: Estimate, n_workers: int | None, *, as_json: bool) -> None:
    """Print what each study costs, and all of them together."""
    if as_json:
        print_json(_as_data(left, n_workers))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("study", "points", "known", "CPU time left", "longest point", "from"):
        table.add_column(heading)
    for each in left.studies:
        origin = f"{each.n_timed} points timed here" if each.n_timed else "the study's own guess"
        counts = (str(each.n_points), str(each.n_known))
        times = (duration(each.seconds), duration(max(each.points, default=0.0)))
        table.add_row(each.study, *counts, *times, origin)
    console().print(table)
    typer.echo(in_words(left, n_workers))


def _as_data(left: Estimate, n_workers: int | None) -> dict[str, Any]:
    studies = [
        {
            "study": each.study,
            "n_points": each.n_points,
            "n_known": each.n_known,
            "n_timed": each.n_timed,
            "cpu_seconds": each.seconds,
            "longest_seconds": max(each.points, default=0.0),
        }
        for each in left.studies
    ]
    elapsed = None if n_workers is None else left.elapsed(n_workers)
    return {
        "studies": studies,
        "cpu_seconds": left.seconds,
        "n_workers": n_workers,
        "elapsed_seconds": elapsed,
    }
