"""How counts grow with depth, with the noise and with width: fitted exponents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from deephochuli.analysis import Table
from deephochuli.studies.pieces._fit import Estimate, exponent, rate
from deephochuli.studies.pieces._read import Row

_FEWEST = 3
"""Places that a fit needs."""

_SHALLOWEST = 5
"""Depth from which growth with depth is fitted: below, nothing is lost to any noise."""


def growth(rows: Sequence[Row]) -> Table:
    """A fit for every series of counts that differ in one thing only."""
    plain = [row for row in rows if row.params["zoom"] == 0 and row.params.get("start") != "he"]
    one_chain = [row for row in plain if row.params.get("n_chains", 1) == 1]
    deep = [row for row in one_chain if row.params["depth"] >= _SHALLOWEST]
    noisy = [row for row in one_chain if row.params["kind"] == "absolute"]
    clear = [row for row in noisy if row.level >= 4 * 2.0 ** -row.params["depth"]]
    chains = [row for row in plain if row.params.get("n_chains", 1) > 1]
    found = [
        *_fits(deep, "layers L", lambda row: row.params["depth"], ("way", "n_steps")),
        *_fits(clear, "1 / noise", lambda row: 1 / row.level, ("depth",)),
        *_fits(chains, "width N", lambda row: 2 * row.params["n_chains"], ("way",)),
    ]
    return Table(
        "growth",
        "How regions grow: exponent k of x^k, and rate k of 2^(k x)",
        (
            *("series", "x", "from", "to", "exponent", "interval from", "interval to"),
            *("rate per layer", "rate from", "rate to", "networks"),
        ),
        tuple(found),
        note="Intervals of confidence 95 % by bootstrap over networks. With depth, from "
        f"{_SHALLOWEST} layers on; with the noise, where it is at least 4 times 2^-L.",
    )


def _fits(
    rows: Sequence[Row], along: str, place: Callable[[Row], float], kept: tuple[str, ...]
) -> Iterator[tuple[str | float | int | None, ...]]:
    """One row of the table for each series along one parameter."""
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(_name(row, kept), []).append(row)
    for name, members in series.items():
        # The same group may have been measured beside several others; it is the same each time.
        by_place = {float(place(row)): row.regions for row in members}
        if len(by_place) < _FEWEST:
            continue
        x = sorted(by_place)
        counts = [by_place[each] for each in x]
        power = exponent(x, counts)
        exponential = rate(x, counts) if along == "layers L" else None
        yield (name, along, x[0], x[-1], *_cells(power), *_cells(exponential), power.n)


def _name(row: Row, kept: tuple[str, ...]) -> str:
    """What all members of a series have in common, as a text."""
    keys = ("kind", "start", "target", "log2_lr", *kept)
    parts = {"way": row.way, **row.params}
    named = {"log2_lr": "rate 2^{}", "depth": "L = {}", "n_steps": "{} steps"}
    return ", ".join(named.get(key, "{}").format(parts[key]) for key in keys if key in parts)


def _cells(found: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if found is None else (found.value, found.low, found.high)
