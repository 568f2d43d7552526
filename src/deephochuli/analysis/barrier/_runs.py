"""What the sketches of a recorded run say about the smallest pre-activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deephochuli.analysis._finding import Finding, Number, PlaceEvidence, ranked
from deephochuli.analysis._sheet import Sheet, Table
from deephochuli.analysis._tables import TapSeries, series_of
from deephochuli.analysis._whole import sketches
from deephochuli.analysis.barrier._count import SCALE_BINADES
from deephochuli.analysis.barrier._judge import FEWEST_NEAR, REJECTED
from deephochuli.analysis.barrier._laws import Interval, cutoff, cutoff_p, density
from deephochuli.analysis.barrier._sheets import QUESTION, bounds
from deephochuli.sketch import Sketch
from deephochuli.store import RunReader

_UNDECIDED = (
    "Sketches keep leading bits: whether small values lie on a lattice is undecided without their "
    "trailing bits, zeros are counted whatever their cause, and data that come back every epoch "
    "count as new. Ask deephochuli.barrier(model, data) to decide."
)


@dataclass(frozen=True, slots=True)
class TapBarrier:
    """What a sketch says about one tap.

    Attributes:
        layer: Name of the layer.
        format: Format of the values; "" where it is not known.
        n: Values recorded.
        n_zero: Exact zeros, whatever their cause.
        p0: Density of nonzero z at zero.
        cutoff: Smallest nonzero magnitude.
        predicted: 1 / (2 N p0), and the range in which the smallest of N lies.
        p: Probability under rarity that the smallest is as large as it is.
        smallest_number: The smallest positive number of the format; NaN where it is not known.
        answer: "rarity is enough", "rarity is rejected", "range" where the smallest magnitude is
            within a factor of two of the smallest number, or "too few values".
    """

    layer: str
    format: str
    n: int
    n_zero: int
    p0: Interval
    cutoff: float
    predicted: Interval
    p: float
    smallest_number: float
    answer: Literal["rarity is enough", "rarity is rejected", "range", "too few values"]


@dataclass(frozen=True, slots=True)
class RunBarrier:
    """What a recorded run says about what limits the smallest pre-activations.

    Attributes:
        rows: Taps of pre-activations.
        undecided: What sketches cannot tell.
        findings: Notes.
    """

    rows: tuple[TapBarrier, ...]
    undecided: str
    findings: tuple[Finding, ...]

    def sheet(self) -> Sheet:
        """The rows as a table."""
        return Sheet(
            key="barrier-run",
            title="What limits the smallest pre-activations, from sketches",
            question=QUESTION,
            answer=f"In {sum(row.answer == 'rarity is enough' for row in self.rows)} of "
            f"{len(self.rows)} layers the smallest magnitude is what rarity predicts.",
            findings=self.findings,
            tables=(
                Table(
                    key="taps",
                    title="Recorded pre-activations",
                    columns=(
                        "layer",
                        "format",
                        "answer",
                        "N",
                        "exact zeros",
                        "p0",
                        "p0, low",
                        "p0, high",
                        "smallest |z|",
                        "1/(2 N p0)",
                        "1/(2 N p0), low",
                        "1/(2 N p0), high",
                        "p",
                    ),
                    rows=tuple(
                        (
                            row.layer,
                            row.format,
                            row.answer,
                            row.n,
                            row.n_zero,
                            *bounds(row.p0),
                            row.cutoff if math.isfinite(row.cutoff) else None,
                            *bounds(row.predicted),
                            None if math.isnan(row.p) else row.p,
                        )
                        for row in self.rows
                    ),
                ),
            ),
            notes=(self.undecided,),
        )

    def __str__(self) -> str:
        """The rows as text."""
        lines = [
            f"{row.layer}: {row.answer}; N = {row.n}, p0 = {row.p0}, smallest {row.cutoff:.3g}, "
            f"1/(2 N p0) = {row.predicted.value:.3g}, p = {row.p:.2g}, {row.n_zero} exact zeros"
            for row in self.rows
        ]
        return "\n".join([*lines, self.undecided])


def barrier_of_run(run: RunReader, confidence: float = 0.95) -> RunBarrier:
    """What can be said of a run's pre-activations without its model.

    Args:
        run: A recorded run.
        confidence: Of intervals.

    Raises:
        MissingExtraError: Scipy is not installed.

    Numerics:
        Counts of nonzero magnitudes below rms / 16, down to a power of two, are exact in a sketch.
        Values of successive steps are taken as new ones.
    """
    series = list(series_of(run, lambda tap: tap.quantity == "z"))
    merged = sketches(run, [each.info for each in series])
    rows = tuple(
        _row(each, merged[each.info.layer, each.info.quantity], confidence) for each in series
    )
    return RunBarrier(rows, _UNDECIDED, tuple(ranked(find(rows))))


def find(rows: tuple[TapBarrier, ...]) -> list[Finding]:
    """A note about layers whose smallest magnitude rarity does not explain."""
    hit = [row for row in rows if row.answer in ("rarity is rejected", "range")]
    if not hit:
        return []
    worst = min(hit, key=lambda row: row.p)
    return [
        Finding(
            kind="cutoff-not-rarity",
            level="note",
            score=0.0,
            title=f"The smallest pre-activations of {len(hit)} layers are not what rarity predicts",
            layer=worst.layer,
            quantity="z",
            summary=f"{worst.layer}: smallest magnitude {worst.cutoff:.3g} of {worst.n} values, "
            f"where 1/(2 N p0) = {worst.predicted.value:.3g} (p = {worst.p:.1g}).",
            why="A cutoff that does not move as 1/N comes from the arithmetic, or from data that "
            "are the same again and again.",
            advice=_UNDECIDED,
            code="dh.barrier(model, data)",
            numbers=(Number("smallest magnitude", worst.cutoff),),
            places=tuple(PlaceEvidence(row.layer, "z", row.cutoff) for row in hit),
            step_first=0,
            step_last=0,
            evidence="zero",
        )
    ]


def _row(series: TapSeries, sketch: Sketch, confidence: float) -> TapBarrier:
    fmt = series.format
    below = 2.0 ** (math.floor(math.log2(sketch.rms)) - SCALE_BINADES) if sketch.rms > 0 else 0.0
    n_near = sketch.count_below(below, inclusive=False)[0] if below else 0
    n = sketch.n_finite - sketch.n_zero
    p0 = density(n_near, n, below or 1.0, confidence)
    smallest = math.nan if fmt is None else float(fmt.smallest_subnormal)
    seen = sketch.min_abs if not math.isnan(sketch.min_abs) else math.inf
    p = cutoff_p(n, p0.low, seen) if n_near else math.nan
    answer = "rarity is rejected" if p < REJECTED else "rarity is enough"
    if n_near < FEWEST_NEAR:
        answer = "too few values"
    elif answer == "rarity is rejected" and seen <= 2 * smallest:
        answer = "range"
    return TapBarrier(
        layer=series.info.layer,
        format="" if fmt is None else fmt.name,
        n=sketch.n_finite,
        n_zero=sketch.n_zero,
        p0=p0,
        cutoff=seen,
        predicted=cutoff(n, p0.value, confidence),
        p=p,
        smallest_number=smallest,
        answer=answer,
    )
