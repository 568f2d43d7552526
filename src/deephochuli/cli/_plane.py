"""``deephochuli pieces --plane``: regions and affine pieces of a model on a square of a plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deephochuli.cli._compare import explained
from deephochuli.cli._segment import Ends, model_and_batch, points_of, third_of
from deephochuli.cli._terminal import Json, console, print_json

if TYPE_CHECKING:
    from deephochuli.pieces import PlaneCount


def on_plane(
    name: str, ends: Ends, layer: str | None, html: Path | None, *, exact: bool, as_json: bool
) -> None:
    """Find the regions, print them, and write the page where one was asked for.

    Raises:
        PiecesError: The points cannot be had, or span no plane.
    """
    found = _found(name, ends, layer, exact=exact, quiet=as_json)
    if as_json:
        print_json(as_record(found))
    else:
        console().print(str(found))
    if html is None:
        if not as_json:
            typer.echo("A picture of the regions as a page: add --html plane.html")
        return
    from deephochuli.analysis.pieces import sheet_of_plane
    from deephochuli.report import build_sheets_report

    title = "Affine pieces on a plane"
    page = build_sheets_report([sheet_of_plane(found)], html, title=title, lede=f"Of {name}.")
    if not as_json:
        typer.echo(page)


def _found(name: str, ends: Ends, layer: str | None, *, exact: bool, quiet: bool) -> PlaneCount:
    from rich.console import Console
    from rich.progress import Progress

    from deephochuli.pieces import plane

    model, batch = model_and_batch(name)
    corners = (*points_of(ends, batch), third_of(ends, batch))
    bar = Progress(console=Console(stderr=True), transient=True, disable=quiet)
    with bar, explained(name):
        task = bar.add_task("Cutting", total=1.0)

        def report(share: float, n_regions: int) -> None:
            bar.update(task, completed=share, description=f"{n_regions} regions")

        return plane(model, *corners, exact=exact, layer=layer, report=report)


def as_record(found: PlaneCount) -> dict[str, Json]:
    """What was found, for scripts."""
    return {
        "n_regions": found.n_regions,
        "pieces": {"low": found.pieces.low, "high": found.pieces.high},
        "n_close": found.n_close,
        "is_exact": found.is_exact,
        "n_units": found.n_units,
        "area": found.area,
        "area_scale": found.area_scale,
        "regions": [
            {"area": area, "corners": found.polygon(i).tolist(), "map": found.maps[i].tolist()}
            for i, area in enumerate(found.areas.tolist())
        ],
    }
