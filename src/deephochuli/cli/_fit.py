"""``deephochuli fit``: which format fits each recorded tensor, and with which scale."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deephochuli.cli._terminal import Json, console, print_json, shown

if TYPE_CHECKING:
    from rich.console import Console

    from deephochuli.analysis import Fit
    from deephochuli.sketch import Share

MOST_ROWS = 30


def fit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or of several.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", help="Format to ask about; may be repeated."),
    ] = None,
    quantities: Annotated[
        list[str] | None,
        typer.Option("--quantity", "-q", help="Only z, a, dz, da, w, g, dw or state; repeatable."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every tensor, not only the ones that lose most.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Which format fits each tensor of a run, or of each run in a folder."""
    from deephochuli import analysis
    from deephochuli.report import open_sources

    readers, names = open_sources(run)
    asked = formats or analysis.CANDIDATES
    found = {
        name: analysis.fit(reader, asked, quantities=quantities or None)
        for name, reader in zip(names, readers, strict=True)
    }
    if as_json:
        print_json(_records(found))
        return
    out = console()
    for name, fits in found.items():
        if len(found) > 1:
            out.print(shown(name), style="bold")
        _print_summary(fits, out)
        _print_tensors(fits, None if show_all else MOST_ROWS, out)
    out.print(
        "Range only: 'fits' says that nothing overflows and next to nothing becomes zero; "
        "× 2^k: after multiplication by that factor. Errors within the range are not judged here.",
        style="dim",
    )


def _records(found: dict[str, list[Fit]]) -> list[Json]:
    """Every fit as a record, which names its run where there are several."""
    several = len(found) > 1
    return [
        {**({"run": name} if several else {}), **as_record(entry)}
        for name, fits in found.items()
        for entry in fits
    ]


def as_record(entry: Fit) -> dict[str, Json]:
    """What one format would do to one tensor, for scripts."""
    return {
        "layer": entry.tap.layer,
        "quantity": entry.tap.quantity,
        "dtype": entry.tap.dtype,
        "format": entry.format.name,
        "verdict": entry.verdict,
        "n_nonzero_finite": entry.plain.n,
        "to_zero": _bounds(entry.plain.to_zero),
        "subnormal": _bounds(entry.plain.subnormal),
        "out_of_range": _bounds(entry.plain.out_of_range),
        "headroom_binades": entry.plain.headroom_binades,
        "rel_error_rms": entry.plain.rel_error_rms,
        "best_scale": entry.scaled.best,
        "swamped_updates": None if entry.swamped is None else _bounds(entry.swamped),
    }


def _bounds(share: Share) -> Json:
    return {"low": share.low, "high": share.high, "of": share.of}


def loss_of(entry: Fit) -> float:
    """Share of the numbers that become zero or leave the range at scale 1, at most."""
    return min(1.0, entry.plain.to_zero.high_share + entry.plain.out_of_range.high_share)


def _print_summary(fits: list[Fit], out: Console) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Range", title_justify="left")
    table.add_column("format", style="bold")
    for verdict in ("fits", "fits scaled", "loses"):
        table.add_column(verdict, justify="right")
    counts = Counter((entry.format.name, entry.verdict) for entry in fits)
    for name in dict.fromkeys(entry.format.name for entry in fits):
        verdicts = ("fits", "fits scaled", "loses")
        table.add_row(name, *(str(counts[name, verdict]) for verdict in verdicts))
    out.print(table)


def _print_tensors(fits: list[Fit], most: int | None, out: Console) -> None:
    from rich import box
    from rich.table import Table

    names = list(dict.fromkeys(entry.format.name for entry in fits))
    rows: dict[tuple[str, str], dict[str, Fit]] = {}
    for entry in fits:
        rows.setdefault((entry.tap.layer, entry.tap.quantity), {})[entry.format.name] = entry
    ranked = sorted(rows.items(), key=lambda row: -max(map(loss_of, row[1].values())))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Tensors", title_justify="left")
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=48)
    for heading in ("quantity", "stored in", *names):
        table.add_column(heading)
    for (layer, quantity), entries in ranked[:most]:
        dtype = next(iter(entries.values())).tap.dtype
        cells = [_cell(entries[name]) for name in names]
        table.add_row(shown(layer), shown(quantity), dtype, *cells)
    out.print(table)
    if most is not None and len(ranked) > most:
        out.print(f"{len(ranked) - most} more tensors lose no more than these; --all shows them.")


def _cell(entry: Fit) -> str:
    """Verdict, scale and losses of one tensor in one format, as short as they can be said."""
    if entry.verdict == "fits":
        text = "fits"
    elif entry.verdict == "fits scaled":
        text = f"fits × 2^{round(math.log2(entry.scaled.best))}"
    else:
        text = f"loses {_hundredths(loss_of(entry))} %"
    if entry.swamped is not None and entry.swamped.high:
        text += f", swamps {_percent(entry.swamped)} of dw"
    return text


def _percent(share: Share) -> str:
    low, high = _hundredths(share.low_share), _hundredths(share.high_share)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _hundredths(share: float) -> str:
    """A share of one in percent; two digits, but three near all of it."""
    return f"{100 * share:.2g}" if share < 0.995 else f"{100 * share:.3g}"
