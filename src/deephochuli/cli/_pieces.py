"""``deephochuli pieces``: regions and affine pieces of a model along a segment, or on a plane."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deephochuli.cli._compare import explained
from deephochuli.cli._plane import on_plane
from deephochuli.cli._segment import Ends, model_and_batch, points_of
from deephochuli.cli._terminal import Json, console, print_json, shown

if TYPE_CHECKING:
    from deephochuli.pieces import Interval, LineCount

MOST_ROWS: Final = 30
GIB: Final = 2**30


def pieces(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="module:callable or file.py:callable that returns a model, or (model, batch).",
        ),
    ],
    begin: Annotated[
        Path | None, typer.Option("--from", help="One end of the segment: .npy or .safetensors.")
    ] = None,
    end: Annotated[Path | None, typer.Option("--to", help="The other end.")] = None,
    random: Annotated[
        int | None, typer.Option(metavar="SEED", help="Two random points (standard normal).")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Two samples of a data set: digits.")] = None,
    samples: Annotated[
        tuple[int, int], typer.Option(help="Which two, of the data set or of the model's batch.")
    ] = (0, 1),
    shape: Annotated[str | None, typer.Option(help="Shape of one input, such as 3,32,32.")] = None,
    layer: Annotated[
        str | None, typer.Option(help="An inner module to count alone; the ends are its inputs.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Decide what rounding errors leave open exactly.")
    ] = False,
    plane: Annotated[
        bool, typer.Option("--plane", help="On the square that a third point spans with the ends.")
    ] = False,
    third: Annotated[
        Path | None, typer.Option(help="The third point: .npy or .safetensors.")
    ] = None,
    third_sample: Annotated[int, typer.Option(help="Or which sample, as in --samples.")] = 2,
    max_gib: Annotated[float, typer.Option(help="About how much memory to use.")] = 0.25,
    show_all: Annotated[bool, typer.Option("--all", help="Show every layer.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """How many regions and affine pieces a model has along a segment, and who makes them."""
    ends = Ends(begin, end, random, data, samples, shape, third, third_sample)
    ends.check()
    if plane:
        on_plane(model, ends, layer, html, exact=exact, as_json=as_json)
        return
    found = _count(model, ends, layer, exact=exact, most_bytes=int(max_gib * GIB), quiet=as_json)
    if as_json:
        print_json(as_record(found))
    else:
        _print(found, show_all=show_all)
    if html is not None:
        _write(found, html, model, quiet=as_json)
    elif not as_json:
        typer.echo("The function and its bends as a page: add --html pieces.html")


def _write(found: LineCount, html: Path, model: str, *, quiet: bool) -> None:
    """Write the page, and say where it is."""
    from deephochuli.analysis.pieces import sheet_of
    from deephochuli.report import build_sheets_report

    title = "Affine pieces along a segment"
    page = build_sheets_report([sheet_of(found)], html, title=title, lede=f"Of {model}.")
    if not quiet:
        typer.echo(page)


def _count(
    name: str, ends: Ends, layer: str | None, *, exact: bool, most_bytes: int, quiet: bool
) -> LineCount:
    from rich.console import Console
    from rich.progress import Progress

    from deephochuli.pieces import count

    model, batch = model_and_batch(name)
    x0, x1 = points_of(ends, batch)
    bar = Progress(console=Console(stderr=True), transient=True, disable=quiet)
    with bar, explained(name):
        task = bar.add_task("Counting", total=1.0)

        def report(share: float, n_bends: int) -> None:
            bar.update(task, completed=share, description=f"{n_bends} bends")

        how = partial(count, exact=exact, layer=layer, most_bytes=most_bytes, report=report)
        return how(model, x0, x1)


def as_record(found: LineCount) -> dict[str, Json]:
    """A count, for scripts."""
    origins = [found.origin(i) for i in range(len(found.t))]
    return {
        "n_regions": found.n_regions,
        "n_pieces": found.n_pieces,
        "regions": _bounds(found.regions),
        "pieces": _bounds(found.pieces),
        "certain": found.is_certain,
        "n_ambiguous": found.n_ambiguous,
        "n_exact": found.n_exact,
        "length": found.length,
        "n_units": found.n_units,
        "smallest_gap": found.smallest_gap,
        "max_error": found.max_error,
        "bends_by_layer": dict(found.bends_by_layer()),
        "breakpoints": [
            {"t": t, "layer": origin.layer, "unit": origin.unit, "jump": jump, "bends": bends}
            for t, origin, jump, bends in zip(
                found.t.tolist(), origins, found.jump.tolist(), found.is_bend.tolist(), strict=True
            )
        ],
    }


def _bounds(interval: Interval) -> Json:
    return {"low": interval.low, "high": interval.high}


def _print(found: LineCount, *, show_all: bool) -> None:
    from rich import box
    from rich.table import Table

    out = console()
    text = str(found).splitlines()
    for line in text[: 3 if len(found.t) else 2]:
        out.print(shown(line))
    if len(found.t):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Bends", title_justify="left")
        table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=60)
        for heading in ("breakpoints", "reach the output"):
            table.add_column(heading, justify="right")
        rows = list(zip(found.layers, *found.tally(), strict=True))
        for name, n, n_bends in rows if show_all else rows[:MOST_ROWS]:
            table.add_row(shown(name), str(n), str(n_bends))
        out.print(table)
        if len(rows) > MOST_ROWS and not show_all:
            out.print(f"{len(rows) - MOST_ROWS} more layers; --all shows them.")
    if not found.is_certain:
        out.print("Open places are decided by --exact.", style="dim")
    out.print("Every breakpoint with its layer and unit: --json", style="dim")
