"""Tables and figures of the study; the first figure is the founding document's."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis._sheet import Cell
from deephochuli.formats import get_format
from deephochuli.studies._study import Result
from deephochuli.studies.swamping import _expected
from deephochuli.studies.swamping._plan import FORMATS
from deephochuli.studies.swamping._read import (
    Growth,
    Spread,
    by_depth,
    growths,
    of_kind,
    sums,
    updates,
)


def tables(results: Sequence[Result]) -> tuple[Table, ...]:
    """Thresholds at 1, sums by order and format, and updates."""
    return (
        _thresholds(results),
        _sums(results, trained=True),
        _sums(results, trained=False),
        _updates(results),
    )


def _thresholds(results: Sequence[Result]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for result in of_kind(results, "thresholds"):
        for row in result.values["rows"]:
            cells = (row["a"], row["toward"], row["threshold"], bool(row["inclusive"]))
            rows.append((result.params["format"], *cells))
    return Table(
        key="thresholds",
        title="Largest magnitude of an absorbed addend, round to nearest, ties to even",
        columns=("format", "accumulator a", "x points", "absorbed up to", "this value included"),
        rows=tuple(rows),
        note="TF32 is a format of operands: tensor cores add its products in FP32, so that its "
        "rows say what a TF32 accumulator would absorb, not what a machine does.",
    )


def _sums(results: Sequence[Result], *, trained: bool) -> Table:
    shares = sums(results, trained=trained)
    masses = sums(results, trained=trained, value="lost_mass")
    rows = tuple(
        (*key, *_spread(value), *_spread(masses.get(key)), _expected.SUMS.get(key))
        if trained
        else (*key, *_spread(value), *_spread(masses.get(key)))
        for key, value in shares.items()
    )
    columns = (
        *("layer", "sum", "accumulator", "order"),
        *("absorbed", "lowest", "highest", "lost mass", "lowest", "highest"),
    )
    state = "trained" if trained else "at the start"
    return Table(
        key=f"sums-{'trained' if trained else 'fresh'}",
        title=f"Absorbed additions inside the digits network, {state}",
        columns=(*columns, "absorbed, prototype") if trained else columns,
        rows=rows,
        note="Means and ranges over the initial weights. Tensor cores cut all terms of a block at "
        "one place (order 'aligned'): absorbed are those of which nothing is left.",
    )


def _spread(value: Spread | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if value is None else (value.mean, value.low, value.high)


def _updates(results: Sequence[Result]) -> Table:
    rows = tuple(
        (*key, *_spread(value), _expected.UPDATES.get(key))
        for key, value in updates(results).items()
    )
    return Table(
        key="updates",
        title="Weights with a gradient whose stored value a step leaves as it was",
        columns=("optimizer", "format", "step", "unmoved", "lowest", "highest", "prototype"),
        rows=rows,
    )


def figures(results: Sequence[Result]) -> tuple[Figure, ...]:
    """The founding document's first figure, growth by K, by depth, and updates."""
    return (_curve(results), *_growth(results), *_depth(results), _by_rate(results))


def _curve(results: Sequence[Result]) -> Figure:
    values = of_kind(results, "curve")[0].values
    x = tuple(values["x"])
    series: list[Series] = [Series("exact", x, x, mark="line", dashed=True)]
    for name, left in values["left"].items():
        kept = tuple(each if each > 0 else None for each in left)
        series.append(Series(name, x, kept, mark="points"))
    for name in FORMATS:
        limit = float(get_format(name).absorption_threshold(1.0).value)
        if name in values["left"]:
            series.append(Series(f"{name}: {limit:.4g}", (limit,), (), mark="rule", dashed=True))
    return Figure(
        key="one-plus-x",
        title="What is left of x after 1 + x - 1",
        x=Axis("x", "log10"),
        y=Axis("(1 + x) - 1, as computed", "log10"),
        series=tuple(series),
        how_to_read="The founding document's first figure, from data. A format keeps x in steps of "
        "the gap above 1; left of its dashed line nothing is left, and no point is drawn.",
    )


def _growth(results: Sequence[Result]) -> tuple[Figure, ...]:
    return tuple(
        Figure(
            key=f"growth-{addends}",
            title=f"Absorbed share by the number of addends, {addends} addends",
            x=Axis("addends in one sum, K", "log2"),
            y=Axis("absorbed share of the additions", "log10"),
            series=tuple(
                series
                for growth in growths(results)
                if growth.addends == addends
                for series in _lines(growth)
            ),
            how_to_read="Points are replayed sums, lines the prediction by a random walk. Blocked "
            "and pairwise sums stay flat.",
        )
        for addends in ("normal", "positive")
    )


def _lines(growth: Growth) -> list[Series]:
    ks = tuple(float(k) for k in growth.ks)

    def positive(values: Sequence[float]) -> tuple[float | None, ...]:
        return tuple(each if each > 0 else None for each in values)

    made = [
        Series(
            f"{growth.format}, predicted",
            ks,
            positive([each.mean for each in growth.predicted]),
            mark="line",
            dashed=True,
        )
    ]
    for order, shares in growth.shares.items():
        made.append(
            Series(
                f"{growth.format}, {order}",
                ks,
                positive([each.mean for each in shares]),
                positive([each.low for each in shares]),
                positive([each.high for each in shares]),
            )
        )
    return made


def _depth(results: Sequence[Result]) -> tuple[Figure, ...]:
    series: list[Series] = []
    for kind in ("forward", "weight gradient", "input gradient"):
        for number, rows in enumerate(by_depth(results, kind), start=1):
            depths = tuple(float(int(row["layer"]) // 2 + 1) for row in rows)
            shares = tuple(row["absorbed"][0] if row["absorbed"] else None for row in rows)
            series.append(Series(f"{kind}, network {number}", depths, shares))
            laws = tuple(row["predicted"] for row in rows)
            name = f"{kind}, network {number}, predicted"
            series.append(Series(name, depths, laws, mark="line", dashed=True))
    if not series:
        return ()
    return (
        Figure(
            key="depth",
            title="Absorbed share by depth, BF16 accumulators, sequential",
            x=Axis("layer"),
            y=Axis("absorbed share of the additions", low=0.0),
            series=tuple(series),
            how_to_read="Plain networks of 24 convolutions, 16 channels, He's initialisation.",
        ),
    )


def _by_rate(results: Sequence[Result]) -> Figure:
    found = updates(results)
    formats = list(dict.fromkeys(fmt for _, fmt, _ in found))
    steps = sorted({step for _, _, step in found})
    series: list[Series] = []
    for fmt in formats:
        for step in steps:
            keys = [key for key in found if key[1:] == (fmt, step)]
            series.append(
                Series(
                    f"{fmt}, step {step}",
                    tuple(optimizer for optimizer, _, _ in keys),
                    tuple(found[key].mean for key in keys),
                    tuple(found[key].low for key in keys),
                    tuple(found[key].high for key in keys),
                )
            )
    return Figure(
        key="updates",
        title="Absorbed weight updates by optimizer and format",
        x=Axis("optimizer and learning rate", "category"),
        y=Axis("share of the weights that did not move", low=0.0, high=1.0),
        series=tuple(series),
        how_to_read="Weights whose gradient is not zero; bars are the range of the seeds.",
    )
