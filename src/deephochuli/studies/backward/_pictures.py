"""Tables and figures of the study."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis.swamping import Estimate
from deephochuli.formats import get_format
from deephochuli.studies.backward._plan import SCALED
from deephochuli.studies.backward._read import (
    Look,
    Row,
    Summary,
    pick,
    states,
    vanished_share,
)


def tables(found: Sequence[Look], summed: Sequence[Summary]) -> tuple[Table, ...]:
    """Networks by arithmetic, and loss scales."""
    return _networks(summed), _scales(found), _layers(found)


def _networks(summed: Sequence[Summary]) -> Table:
    names = ("parameters", "chain", "decided", "effective", "cosine", "scale", "rescued")
    heads = {
        "parameters": "vanished, parameters",
        "chain": "vanished, handed down",
        "decided": "decided by the forward",
        "effective": "vanished that would have moved a weight",
        "cosine": "cosine, whole gradient",
        "scale": "norm ratio, whole gradient",
        "rescued": "vanished with the advised loss scale",
    }
    rows = tuple(
        (
            *(each.state, each.arithmetic, each.n),
            *(cell for name in names for cell in _ends(getattr(each, name))),
        )
        for each in summed
    )
    columns = [
        column for name in names for column in (heads[name], f"{name}, low", f"{name}, high")
    ]
    return Table(
        key="networks",
        title="Gradients by network and arithmetic: shares of elements, angle and norm",
        columns=("network", "arithmetic", "networks", *columns),
        rows=rows,
        note="Means over initial weights with Student's interval.",
    )


def _ends(estimate: Estimate) -> tuple[float | None, ...]:
    ends = (estimate.value, estimate.low, estimate.high)
    return tuple(each if math.isfinite(each) else None for each in ends)


def _scales(found: Sequence[Look]) -> Table:
    rows = tuple(
        (
            *(each.state, each.seed, name, each.scale["lowest"], each.scale["demanding"] or None),
            *(each.scale["highest"], each.scale["limiting"], bool(each.scale["fits"])),
            *(each.scale["advised"], vanished_share(each.rows), vanished_share(each.rescued)),
        )
        for name in SCALED
        for each in pick(found, name)
    )
    return Table(
        key="scales",
        title="Loss scales, as exponents of two",
        columns=(
            *("network", "seed", "arithmetic", "lowest", "asked for by"),
            *("highest", "limited by", "one scale serves all", "advised"),
            *("vanished without", "vanished with it"),
        ),
        rows=rows,
        note="Lowest: removes 95 % of the underflow of every exact gradient. Highest: none "
        "overflows.",
    )


def _layers(found: Sequence[Look]) -> Table:
    rows = tuple(
        (
            *(each.state, each.arithmetic, row["layer"], row["tensor"], row["live"]),
            *(row["lost"], row["decided"], row["rounded"], row["inside"], row["vanishing"]),
            *(row["decay"], *row["cosine"], *row["scale"], *row["bias"]),
        )
        for each in found
        if each.seed == 0 and each.arithmetic in ("bf16", "fp16", "fp8")
        for row in each.rows
    )
    return Table(
        key="layers",
        title="Layer by layer, first seed",
        columns=(
            *("network", "arithmetic", "layer", "tensor", "not zero", "lost"),
            *("decided by the forward", "rounded here", "inside sums", "vanishing", "decay"),
            *(f"{name}{end}" for name in ("cosine", "scale", "bias") for end in _ENDS),
        ),
        rows=rows,
        note="Intervals of single gradients are those of a jackknife over samples or units.",
    )


_ENDS = ("", ", low", ", high")


def figures(found: Sequence[Look]) -> tuple[Figure, ...]:
    """Vanished shares by layer and by network, and the ranges of the exact gradients."""
    return (_by_network(found), *_by_layer(found), *_ranges(found))


def _by_network(found: Sequence[Look]) -> Figure:
    names = [name for name in dict.fromkeys(each.arithmetic for each in found) if name != "fp64"]
    series: list[Series] = []
    for name in names:
        x: list[str] = []
        y: list[tuple[float, float, float]] = []
        for state in states(found):
            values = [
                vanished_share(each.parameters) for each in pick(found, name) if each.state == state
            ]
            x.append(state)
            y.append((sum(values) / len(values), min(values), max(values)))
        low, high = tuple(each[1] for each in y), tuple(each[2] for each in y)
        series.append(Series(name, tuple(x), tuple(each[0] for each in y), low, high))
    return Figure(
        key="networks",
        title="Share of the weight gradients' elements that vanish backward",
        x=Axis("network", "category"),
        y=Axis("vanished share", low=0.0, high=1.0),
        series=tuple(series),
        how_to_read="Elements that are zero in the arithmetic and not in binary64; bars are the "
        "range of the seeds.",
    )


def _chain(found: Sequence[Look], state: str, name: str) -> list[Row]:
    """Gradients that the layers of the first network of a state hand down."""
    rows = [each.chain for each in pick(found, name) if each.state == state and each.seed == 0]
    return sorted(rows[0], key=lambda row: row["order"]) if rows else []


def _labels(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(f"{row['layer']} {row['kind']}" for row in rows)


def _by_layer(found: Sequence[Look]) -> tuple[Figure, ...]:
    made: list[Figure] = []
    for number, state in enumerate(states(found)):
        series = [
            Series(name, _labels(rows), tuple(vanished_share([row]) for row in rows))
            for name in ("fp32", "bf16", "fp16", "fp8")
            if (rows := _chain(found, state, name))
        ]
        made.append(
            Figure(
                key=f"layers-{number}",
                title=f"Gradients handed down, {state}: share that has vanished",
                x=Axis("layer, from the input to the loss", "category"),
                y=Axis("vanished share", low=0.0, high=1.0),
                series=tuple(series),
                how_to_read="Read from right to left, as the backward goes.",
            )
        )
    return tuple(made)


def _ranges(found: Sequence[Look]) -> tuple[Figure, ...]:
    made: list[Figure] = []
    for number, state in enumerate(states(found)):
        rows = [row for row in _chain(found, state, "fp32") if row["range"][1] is not None]
        low, median, high = (tuple(float(row["range"][i]) for row in rows) for i in range(3))
        floors = [
            Series(
                f"{name}: rounds to zero",
                (),
                (math.log2(get_format(name).smallest_subnormal) - 1,),
                mark="rule",
                dashed=True,
            )
            for name in ("bf16", "fp16", "fp8_e5m2")
        ]
        made.append(
            Figure(
                key=f"ranges-{number}",
                title=f"Exact gradients handed down, {state}",
                x=Axis("layer, from the input to the loss", "category"),
                y=Axis("binade of the magnitude", low=min((-40.0, *low)) - 2),
                series=(*floors, Series("1 %, median, 99 %", _labels(rows), median, low, high)),
                how_to_read="What lies below a dashed line becomes zero in that format.",
            )
        )
    return tuple(made)
