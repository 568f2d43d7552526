"""Tables and figures of the study of the kink."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.analysis.kink import CAUSES
from deephochuli.studies._evidence import mean_of
from deephochuli.studies.kink._plan import ALPHAS
from deephochuli.studies.kink._read import Law, Net, Race, Zone


def nets_table(found: Sequence[Net]) -> Table:
    """The reference net in each way."""
    return Table(
        key="reference-net",
        title="Exact zeros of the reference net, and what hangs on them",
        columns=(
            *("way", "biases", "epochs", "pre-activations", "zero", *CAUSES),
            *("batches", "share changed", "low", "high", "median r(1/2) / r(1)", "median r(1)"),
        ),
        rows=tuple(
            (
                *(net.way, net.bias, net.epochs, net.n, net.zero),
                *(net.causes[cause] for cause in CAUSES),
                len(net.changed),
                net.share_changed.value,
                net.share_changed.low,
                net.share_changed.high,
                net.linearity,
                net.size,
            )
            for net in found
        ),
        note='"apart": the bias is added to the sum after it was rounded. Biases "none": layers '
        'without; "zero": they begin at zero.',
    )


def zones_table(found: Sequence[Zone]) -> Table:
    """Volumes."""
    return Table(
        key="volume",
        title="Volume of the bifurcation zone",
        columns=(
            *("net", "way", "draws", "in the zone", "volume", "low", "high"),
            *("pre-activations", "zero"),
        ),
        rows=tuple(
            (
                *(each.net, each.way, each.n, each.n_changed),
                *(each.volume.value, each.volume.low, each.volume.high),
                *(each.n_seen, each.n_zero),
            )
            for each in found
        ),
        note="A draw is in the zone where the gradient of some batch hangs on ReLU'(0).",
    )


def races_table(found: Sequence[Race]) -> Table:
    """Trainings."""
    rows: list[tuple[str | float | int, ...]] = []
    for race in found:
        difference = mean_of([row[0] - row[-1] for row in race.accuracy])
        same = sum(len(set(row)) == 1 for row in race.weights)
        means = [mean_of([row[i] for row in race.accuracy]).value for i in range(len(ALPHAS))]
        rows.append(
            (
                *(race.net, race.optimizer, race.way, len(race.accuracy), *means),
                *(difference.value, difference.low, difference.high, same),
            )
        )
    return Table(
        key="training",
        title="Test accuracy after training with each ReLU'(0)",
        columns=(
            *("net", "optimizer", "way", "seeds"),
            *(f"accuracy with {alpha:g}" for alpha in ALPHAS),
            *("0 minus 1", "low", "high", "seeds that are the same to the bit"),
        ),
        rows=tuple(rows),
        note="The same weights and batches for each slope; the interval is Student's over seeds.",
    )


def changed_figure(found: Sequence[Net]) -> Figure:
    """Share of batches, by way and by biases."""
    series: list[Series] = []
    for bias, epochs, name in (
        ("default", 0, "default biases, new"),
        ("default", 20, "default biases, trained"),
        ("none", 0, "no biases"),
        ("zero", 0, "biases that are zero"),
    ):
        rows = [net for net in found if (net.bias, net.epochs) == (bias, epochs)]
        if rows:
            series.append(
                Series(
                    name=name,
                    x=tuple(net.way for net in rows),
                    y=tuple(net.share_changed.value for net in rows),
                    low=tuple(net.share_changed.low for net in rows),
                    high=tuple(net.share_changed.high for net in rows),
                )
            )
    return Figure(
        key="changed",
        title="Batches whose gradient hangs on ReLU'(0), reference net",
        x=Axis("way to compute", "category"),
        y=Axis("share of batches", low=0.0, high=1.0),
        series=tuple(series),
        how_to_read="Whether a bias is added before or after rounding decides more than the number "
        "of bits; biases that are zero put every format into the zone.",
    )


def expected_figure(found: Sequence[Net], law: Law) -> Figure:
    """Observed against expected zeros."""
    rows = [net for net in found if net.predicted]
    x = [net.predicted or 0.0 for net in rows]
    y = [float(net.causes["cancellation"]) for net in rows]
    notes = [f"{net.way}, {net.epochs} epochs" for net in rows]
    if law.apart and law.predicted:
        x, y = [*x, law.predicted], [*y, float(law.apart)]
        notes = [*notes, "dense layer, fp32 apart"]
    ends = (min(x) / 2, max(x) * 2) if x else (1.0, 2.0)
    return Figure(
        key="expected-zeros",
        title="Exact zeros against N p0 ulp(b)",
        x=Axis("expected zeros", "log10"),
        y=Axis("observed zeros", "log10"),
        series=(
            Series(name="observed = expected", x=ends, y=ends, mark="line", dashed=True),
            *(
                Series(
                    name=name,
                    x=(a,),
                    y=(b,),
                    low=(max(b - 2 * b**0.5, 0.5),),
                    high=(b + 2 * b**0.5,),
                )
                for name, a, b in zip(notes, x, y, strict=True)
            ),
        ),
        how_to_read="Points on the dashed line are explained by the gap of the bias and the "
        "density of pre-activations at zero alone.",
    )
