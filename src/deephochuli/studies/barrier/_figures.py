"""Figures of the study: the histogram of the founding document, and the cutoff against N."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import Axis, Figure, Series
from deephochuli.studies.barrier._read import Counted


def histogram(pair: Sequence[Counted]) -> Figure:
    """Figure 2 of the founding document: counts per binade of FP32 beside FP64."""
    series: list[Series] = []
    for each in pair:
        counts = each.tally.histogram()
        series.append(
            Series(
                f"{each.way.upper()}, {each.judgement.zeros.seen} exact zeros besides",
                tuple(2.0**e for e in counts),
                tuple(float(n) for n in counts.values()),
                mark="points",
                note="magnitudes from here to twice as much",
            )
        )
    first = pair[0].judgement
    exponents = range(min(min(each.tally.histogram()) for each in pair) - 3, 3)
    rate = 2 * first.n * first.rarity.p0.value
    series.insert(
        0,
        Series(
            "rarity: 2 N p0 |z|",
            tuple(2.0**e for e in exponents),
            tuple(rate * 2.0**e for e in exponents),
            mark="line",
            dashed=True,
        ),
    )
    series.append(Series("1/(2 N p0)", (first.rarity.predicted.value,), (), mark="rule"))
    for each in pair:
        lattice = each.judgement.lattice
        if lattice.owner == "bias":
            widest = max(lattice.by_channel)
            series.append(
                Series(f"{each.way.upper()}: ulp of the largest bias", (widest,), (), mark="rule")
            )
    return Figure(
        key="histogram",
        title="Magnitudes of the pre-activations of the first layer, FP32 beside FP64",
        x=Axis("|z|", "log2"),
        y=Axis("values per binade", "log10", low=0.5),
        series=tuple(series),
        how_to_read="Both axes are logarithmic, bins are binades. A density that is flat at zero "
        "makes a line of slope 1 in any format; it ends where fewer than one value is expected.",
    )


def cutoffs(counts: Sequence[Counted]) -> Figure:
    """The smallest magnitude against the number of values."""
    series: list[Series] = []
    for each in counts:
        law = each.law
        p0 = each.judgement.rarity.p0.value
        series += [
            Series(
                f"{each.name}: 1/(2 N p0)",
                law.n,
                tuple(1 / (2 * n * p0) for n in law.n),
                mark="line",
                dashed=True,
            ),
            Series(each.name, law.n, law.scale, law.low, law.high, "points"),
        ]
    return Figure(
        key="cutoff",
        title="The smallest magnitude moves as one over the number of values",
        x=Axis("values N", "log2"),
        y=Axis("smallest |z|, mean of groups", "log10"),
        series=tuple(series),
        how_to_read="Each point is the mean smallest magnitude of groups of N values, with its 95 "
        "% interval; no value is in two points. A limit of the format would be a horizontal line.",
    )
