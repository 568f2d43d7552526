"""A swamping analysis as a sheet: tables and figures as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from deephochuli.analysis._finding import percent
from deephochuli.analysis._sheet import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.swamping._interval import Estimate
from deephochuli.analysis.swamping._result import SumRow, Swamping

MOST_PLACES: Final = 40
"""Places that a figure shows; the table has all of them."""
MOST_CURVES: Final = 6

Place = tuple[str, str, str]

_COLUMNS: Final = (
    *("layer", "sum", "order", "format", "K", "sums", "replayed"),
    *("absorbed", "absorbed, low", "absorbed, high", "predicted"),
    *("lost mass", "lost mass, low", "lost mass, high"),
    *("bits lost, median", "bits lost, 95 %"),
)
_ADDENDS: Final = (
    *("layer", "sum", "order", "format", "K", "replayed"),
    *("zero addends", "became zero", "overflowed"),
)


@sheet_for.register(Swamping)
def sheet_of(result: Swamping) -> Sheet:
    """Lay a result out; a pure function of it.

    Numerics:
        Every number is one of the rows of the result; none is computed anew.
    """
    formats = ", ".join(dict.fromkeys(row.format for row in result.rows)) or "no format"
    return Sheet(
        key="swamping",
        title="Swamping",
        question=f"How much of the sums inside {result.model} is swallowed by larger partial sums, "
        f"in {result.arithmetic or formats}?",
        answer=_answer(result),
        findings=result.findings,
        tables=(_table(result.rows), _addends(result.rows)) if result.rows else (),
        figures=_figures(result) if result.rows else (),
        notes=_notes(result),
    )


def _answer(result: Swamping) -> str:
    """The worst sum of each order in a sentence."""
    if not result.rows:
        return f"{result.model} has no sum that can be replayed."
    n_places = len({_place(row) for row in result.rows})
    orders = dict.fromkeys(row.order for row in result.rows)
    said = [_of_order(order, result.of(order=order)) for order in orders]
    return f"{n_places} kinds of sums were replayed. " + " ".join(said)


def _of_order(order: str, rows: Sequence[SumRow]) -> str:
    known = [row for row in rows if not math.isnan(row.absorbed.value)]
    if not known:
        return f"{order.capitalize()}: no sum has two addends that are not zero."
    worst = max(known, key=lambda row: row.absorbed.value)
    if worst.absorbed.value == 0:
        most = max(row.absorbed.high for row in known)
        return f"{order.capitalize()}: no addition was absorbed (at most {percent(most)})."
    mass = worst.lost_mass.value
    return (
        f"{order.capitalize()}: up to {percent(worst.absorbed.value)}{_span(worst.absorbed)} of "
        f"the additions are absorbed, in the {worst.sum} of {worst.layer!r} (K = "
        f"{worst.n_addends}), with {percent(mass)} of the mass."
    )


def _span(estimate: Estimate) -> str:
    if estimate.low == estimate.high:
        return ""
    return f" ({percent(estimate.low)} to {percent(estimate.high)})"


def _table(rows: Sequence[SumRow]) -> Table:
    return Table(
        key="sums",
        title="Sums, in the order of the computation",
        columns=_COLUMNS,
        rows=tuple(_cells(row) for row in rows),
        note="Absorbed: share of the additions of two numbers that are not zero whose result is "
        "the larger one. Lost mass: what was absorbed over all magnitudes. Bits lost: beyond half "
        "an ulp of the exact sum, cancellation included. Predicted: a random walk of the same "
        "addends, for sequential sums.",
    )


def _cells(row: SumRow) -> tuple[str | float | int | None, ...]:
    return (
        *(row.layer, row.sum, row.order, row.format, row.n_addends, row.n_sums, row.n_sampled),
        *(*_three(row.absorbed), row.predicted, *_three(row.lost_mass)),
        *(row.bits_lost, row.bits_lost_high),
    )


def _addends(rows: Sequence[SumRow]) -> Table:
    return Table(
        key="addends",
        title="Addends that take no part, or are too large",
        columns=_ADDENDS,
        rows=tuple(
            (
                *(row.layer, row.sum, row.order, row.format, row.n_addends, row.n_sampled),
                *(row.zero_share, row.n_underflowed, row.n_overflowed),
            )
            for row in rows
        ),
        note="Zero addends: their share; they are in none of the numbers above. Became zero: "
        "products too small for the format, before any addition. Overflowed: additions or addends "
        "beyond its largest number.",
    )


def _three(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _place(row: SumRow) -> Place:
    return row.layer, row.sum, row.direction


def _name(place: Place) -> str:
    return f"{place[0] or '(model)'} · {place[1]}"


def _figures(result: Swamping) -> tuple[Figure, ...]:
    rows = _worst(result.rows)
    n_all = len({_place(row) for row in result.rows})
    shown = f" (the worst {MOST_PLACES} of {n_all} sums)" if n_all > MOST_PLACES else ""
    figures = [
        _by_place(
            rows,
            "absorbed",
            f"Share of additions that are absorbed{shown}",
            "share of additions absorbed",
            lambda row: row.absorbed,
        ),
        _by_place(
            rows,
            "lost-mass",
            f"Share of the mass that is absorbed{shown}",
            "share of mass absorbed",
            lambda row: row.lost_mass,
        ),
        _bits(rows, shown),
    ]
    return (*figures[:1], *_growth(rows), *figures[1:])


def _worst(rows: Sequence[SumRow]) -> list[SumRow]:
    """Rows of the places where most is absorbed, in any order, as they were computed."""
    worst: dict[Place, float] = {}
    for row in rows:
        share = row.absorbed.value if row.absorbed.value > 0 else 0.0
        worst[_place(row)] = max(worst.get(_place(row), 0.0), share)
    kept = set(sorted(worst, key=lambda place: -worst[place])[:MOST_PLACES])
    return [row for row in rows if _place(row) in kept]


def _by_place(
    rows: Sequence[SumRow],
    key: str,
    title: str,
    label: str,
    number: Callable[[SumRow], Estimate],
) -> Figure:
    """One number of every place, a series for each order."""
    series = tuple(
        Series(
            name=order,
            x=tuple(_name(_place(row)) for row in found),
            y=tuple(number(row).value for row in found),
            low=tuple(number(row).low for row in found),
            high=tuple(number(row).high for row in found),
            note="with its confidence interval, from the sampling of outputs",
        )
        for order in dict.fromkeys(row.order for row in rows)
        if (found := [row for row in rows if row.order == order])
    )
    return Figure(
        key=key,
        title=title,
        x=Axis("layer · sum, in the order of the computation", "category"),
        y=Axis(label, "log10"),
        series=series,
        how_to_read="One row a sum. How far the orders lie apart is what a library's order of "
        "addition decides.",
    )


def _bits(rows: Sequence[SumRow], shown: str) -> Figure:
    series = tuple(
        Series(
            name=order,
            x=tuple(_name(_place(row)) for row in found),
            y=tuple(row.bits_lost for row in found),
            low=tuple(row.bits_lost for row in found),
            high=tuple(row.bits_lost_high for row in found),
            note="median over the sums, bar up to the 95 % quantile",
        )
        for order in dict.fromkeys(row.order for row in rows)
        if (found := [row for row in rows if row.order == order])
    )
    return Figure(
        key="bits-lost",
        title=f"Bits of the sums that are wrong{shown}",
        x=Axis("layer · sum, in the order of the computation", "category"),
        y=Axis("bits lost against the exact sum", low=0.0),
        series=series,
        how_to_read="Rounding and cancellation together: 0 is the exact sum, rounded once.",
    )


def _growth(rows: Sequence[SumRow]) -> tuple[Figure, ...]:
    """Predicted growth of the sums of which most is absorbed, and what was measured."""
    grown = [row for row in rows if any(share > 0 for _, share in row.growth)]
    grown.sort(key=lambda row: -max(share for _, share in row.growth))
    series: list[Series] = []
    for row in grown[:MOST_CURVES]:
        lengths, shares = zip(*row.growth, strict=True)
        name = _name(_place(row))
        series.append(
            Series(name, lengths, shares, mark="line", dashed=True, note="predicted random walk")
        )
        value, low, high = ((each,) for each in _three(row.absorbed))
        series.append(Series(name, (row.n_addends,), value, low, high, note="measured"))
    if not series:
        return ()
    figure = Figure(
        key="growth",
        title="How absorption grows with the number of addends",
        x=Axis("addends K", "log2"),
        y=Axis("share of additions absorbed", "log10"),
        series=tuple(series),
        how_to_read="Marks are measured at the layer's own K, dashed lines are the random walk "
        "that its addends predict for longer sequential sums.",
    )
    return (figure,)


def _notes(result: Swamping) -> tuple[str, ...]:
    sampled = sum(row.n_sampled < row.n_sums for row in result.rows)
    notes = [
        "True operands of one forward and backward are added again, addition by addition; exact "
        "sums are formed in integers.",
        f"Intervals hold with a confidence of {percent(result.confidence)} and come from the "
        f"sampling of outputs ({sampled} of {len(result.rows)} rows are sampled, the others are "
        "whole).",
        "The order in which a library adds is not known; the orders shown bracket it.",
    ]
    if result.not_replayed:
        notes.append(f"Not replayed: {', '.join(result.not_replayed)}.")
    return tuple(notes)
