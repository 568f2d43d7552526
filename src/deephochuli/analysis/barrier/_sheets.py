"""The answer to what limits small pre-activations, as tables and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deephochuli.analysis._sheet import Axis, Cell, Figure, Series, Sheet, Table
from deephochuli.analysis._shown import sheet_for
from deephochuli.analysis.barrier._judge import Judgement
from deephochuli.analysis.barrier._laws import Interval
from deephochuli.analysis.barrier._result import Barrier, LayerBarrier

QUESTION = (
    "Is the smallest magnitude of the pre-activations a limit of the hardware, or is it how rare "
    "small values are, or the bias?"
)
COLUMNS = (
    "layer",
    "format",
    "limited by",
    "N",
    "structural",
    "p0",
    "p0, low",
    "p0, high",
    "smallest |z|",
    "1/(2 N p0)",
    "1/(2 N p0), low",
    "1/(2 N p0), high",
    "p of the smallest",
    "exact zeros",
    "expected zeros",
    "spacing",
    "made by",
    "p of trailing zeros",
    "visible from N",
)
METHOD = (
    "N leaves out structural values, whose products are all zero: they are the bias in every "
    "format.",
    "Rarity is rejected by an exact zero or by a smallest magnitude with p < 0.001; a lattice is "
    "accepted by trailing zero bits with p < 1e-6. A lattice below the smallest magnitude limits "
    "nothing yet.",
    "The density is taken as flat below rms / 16. The test of trailing zeros takes the 64 smallest "
    "distinct values.",
)


@sheet_for.register(Barrier)
def sheet_of(result: Barrier) -> Sheet:
    """The whole answer for a model."""
    return Sheet(
        key="barrier",
        title="What limits the smallest pre-activations",
        question=QUESTION,
        answer=_answer(result),
        findings=result.findings,
        tables=(_layers(result.rows), _lattices(result.rows)),
        figures=tuple(
            figure_of(row.tally.histogram(), row.judgement, f"layer-{i}", row.layer)
            for i, row in enumerate(result.rows)
        ),
        notes=(
            *METHOD,
            *(f"{name} is no linear layer or convolution." for name in result.not_seen),
        ),
    )


def figure_of(histogram: dict[int, int], it: Judgement, key: str, layer: str) -> Figure:
    """Counts per binade on both axes logarithmic, with the line of rarity and the lattice."""
    exponents = sorted(histogram)
    top = max(exponents, default=0)
    bottom = min((e for e in exponents if histogram[e]), default=0) - 3
    line = [e for e in range(bottom, top + 1)]
    rate = 2 * it.n * it.rarity.p0.value
    series = [
        Series(
            "rarity: 2 N p0 |z|",
            tuple(2.0**e for e in line),
            tuple(rate * 2.0**e for e in line),
            mark="line",
            dashed=True,
            note="predicted from the density at zero alone",
        ),
        Series(
            "seen",
            tuple(2.0**e for e in exponents),
            tuple(float(histogram[e]) for e in exponents),
            mark="points",
            note="magnitudes from here to twice as much",
        ),
    ]
    if it.lattice.spacing is not None:
        series.append(
            Series("spacing of the lattice", (it.lattice.spacing,), (), mark="rule", dashed=True)
        )
    if math.isfinite(it.rarity.predicted.value):
        series.append(Series("1/(2 N p0)", (it.rarity.predicted.value,), (), mark="rule"))
    return Figure(
        key=key,
        title=f"Magnitudes of the pre-activations of {layer or 'the model'}",
        x=Axis("|z|", "log2"),
        y=Axis("values per binade", "log10", low=0.5),
        series=tuple(series),
        how_to_read="Where points follow the dashed line of slope 1, there are as few small values "
        "as a density that is flat at zero makes. A lattice shows as points that end at its rule "
        "although the line goes on.",
    )


def row_of(layer: str, fmt: str, it: Judgement) -> tuple[Cell, ...]:
    """Cells of `COLUMNS`."""
    expected = it.zeros.by_range
    if not math.isnan(it.zeros.by_lattice):
        expected += it.zeros.by_lattice
    finite = math.isfinite(it.rarity.cutoff)
    return (
        layer,
        fmt,
        it.limit,
        it.n,
        it.n_structural,
        *bounds(it.rarity.p0),
        it.rarity.cutoff if finite else None,
        *bounds(it.rarity.predicted),
        it.rarity.p if finite else None,
        it.zeros.seen,
        expected,
        it.lattice.spacing,
        it.lattice.owner,
        it.lattice.p,
        it.visible_from if math.isfinite(it.visible_from) else None,
    )


def bounds(interval: Interval) -> tuple[Cell, Cell, Cell]:
    """Three cells; None for what is no finite number."""
    low, value, high = (
        each if math.isfinite(each) else None
        for each in (interval.low, interval.value, interval.high)
    )
    return value, low, high


def _layers(rows: Sequence[LayerBarrier]) -> Table:
    return Table(
        key="layers",
        title="Layers",
        columns=COLUMNS,
        rows=tuple(row_of(row.layer, row.format, row.judgement) for row in rows),
        note="Expected zeros: by the range, and by the lattice where it is the bias that makes it.",
    )


def _lattices(rows: Sequence[LayerBarrier]) -> Table:
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        for name, lattice in (
            ("as it is", row.judgement.lattice),
            *((each.name, each.lattice) for each in row.interventions),
        ):
            cells.append(
                (
                    row.layer,
                    name,
                    lattice.trailing_mean if lattice.n_values else None,
                    lattice.p,
                    lattice.n_distinct,
                    lattice.n_expected,
                    lattice.spacing,
                    lattice.owner,
                    lattice.n_agreeing,
                    lattice.n_channels,
                )
            )
    return Table(
        key="lattices",
        title="Lattices, and what becomes of them under other biases",
        columns=(
            "layer",
            "bias",
            "mean trailing zeros",
            "p",
            "distinct",
            "expected distinct",
            "spacing",
            "made by",
            "channels that agree with the bias",
            "of",
        ),
        rows=tuple(cells),
        note="Without a lattice the mean is 1. A lattice of the bias vanishes or changes with it.",
    )


def _answer(result: Barrier) -> str:
    groups: dict[str, list[LayerBarrier]] = {}
    for row in result.rows:
        groups.setdefault(row.limit, []).append(row)
    parts = [
        f"{len(rows)} of {len(result.rows)} layers: {limit} "
        f"({rows[0].layer}: {rows[0].judgement.because})"
        for limit, rows in groups.items()
    ]
    return "; ".join(parts) + "."
