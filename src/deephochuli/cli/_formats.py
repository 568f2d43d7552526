"""``deephochuli formats``: unit roundoff, range and thresholds of number formats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deephochuli.cli._terminal import console, print_json

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, str | int | float | None]

# Heading, and the field of a row that it shows.
COLUMNS: Final = {
    "bits": "bits",
    "p": "precision",
    "unit roundoff": "unit_roundoff",
    "smallest subnormal": "smallest_subnormal",
    "smallest normal": "smallest_normal",
    "max finite": "max_finite",
    "1 absorbs": "absorption_above_1",
}


def formats(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Formats to show, by name or as 'e5m10'; all known ones when none is given.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show unit roundoff, range and thresholds of number formats."""
    from deephochuli.formats import format_rows

    rows = format_rows(names or None)
    if as_json:
        print_json([dict(row) for row in rows])
    else:
        _print_table(rows, console())


def _print_table(rows: list[Row], out: Console) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("format", no_wrap=True, style="bold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("overflow")
    for row in rows:
        cells = [_cell(field, row[field]) for field in COLUMNS.values()]
        table.add_row(str(row["name"]), *cells, str(row["overflow"]))
    out.print(table)
    out.print(
        "p: bits of the significand with the leading one. 1 absorbs: up to this x > 0, fl(1 + x) "
        "is 1. Overflow: what stands for results beyond max finite.",
        style="dim",
    )


def _cell(field: str, value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if field == "max_finite" else _number(value)


def _number(value: str | float) -> str:
    """A power of two as such, with its decimal reading; anything else as it is."""
    if not isinstance(value, float):
        return str(value)
    significand, exponent = math.frexp(value)
    return f"2^{exponent - 1} = {value:.3g}" if significand == 0.5 else f"{value:.3g}"
