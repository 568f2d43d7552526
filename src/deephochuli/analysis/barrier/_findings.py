"""Findings about what limits small pre-activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence, percent, ranked
from deephochuli.analysis.barrier._result import LayerBarrier

MANY_ZEROS = 1e-4
"""Share of exact zeros from which on batches of thousands of values hold one as a rule."""

_WHY = (
    "At an exact zero the derivative of ReLU is a convention, so gradients depend on it; and "
    "values closer to zero than the spacing cannot occur."
)


def find(rows: Sequence[LayerBarrier]) -> tuple[Finding, ...]:
    """What should be known about the layers, worst first."""
    return tuple(ranked([*_limited(rows), *_rare(rows)]))


def _zero_share(row: LayerBarrier) -> float:
    return row.judgement.zeros.seen / max(1, row.judgement.n)


def _places(rows: Sequence[LayerBarrier]) -> tuple[PlaceEvidence, ...]:
    return tuple(PlaceEvidence(row.layer, "z", _zero_share(row)) for row in rows)


def _limited(rows: Sequence[LayerBarrier]) -> Iterator[Finding]:
    """Layers in which arithmetic, not chance, makes the smallest values what they are."""
    hit = [row for row in rows if row.limit in ("bias", "lattice", "range")]
    hit.sort(key=lambda row: -_zero_share(row))
    if not hit:
        return
    worst = hit[0]
    share = _zero_share(worst)
    level: Level = "warning" if share >= MANY_ZEROS else "note"
    by = {
        "bias": "the ulp of the bias, which is added last,",
        "lattice": f"a lattice made by the {worst.judgement.lattice.owner}",
        "range": "the smallest number of the format",
    }[worst.limit]
    yield Finding(
        kind="limited-near-zero",
        level=level,
        score=min(1.0, share),
        title=f"Pre-activations of {worst.layer!r} are limited near zero by {worst.format}: "
        f"{percent(share)} are exact zeros",
        layer=worst.layer,
        quantity="z",
        summary=f"In {len(hit)} of {len(rows)} layers {by} and not the number of values sets the "
        f"smallest magnitude: {worst.judgement.because}.",
        why=_WHY,
        advice="Add the bias before results are rounded, or hold results in a wider format.",
        code='dh.barrier(model, data, arithmetic="fp32")',
        numbers=(
            Number("exact zeros", share, "share"),
            Number("pre-activations", worst.judgement.n),
        ),
        places=_places(hit),
        step_first=0,
        step_last=0,
        evidence="zero",
    )


def _rare(rows: Sequence[LayerBarrier]) -> Iterator[Finding]:
    """Layers whose smallest value says how many values there were, and nothing else."""
    hit = [row for row in rows if row.limit == "rarity"]
    if not hit:
        return
    first = min(hit, key=lambda row: row.judgement.rarity.p)
    it = first.judgement
    yield Finding(
        kind="rare-near-zero",
        level="note",
        score=0.0,
        title=f"The smallest pre-activations of {len(hit)} of {len(rows)} layers are what rarity "
        "predicts",
        layer=first.layer,
        quantity="z",
        summary=f"{first.layer}: {it.because}, of {it.n} values.",
        why="A cutoff that moves as 1/N belongs to the sample, not to the number format.",
        advice="Nothing to change. State N and p0 with every cutoff.",
        code="",
        numbers=(
            Number("smallest magnitude", it.rarity.cutoff),
            Number(
                "predicted",
                it.rarity.predicted.value,
                "",
                it.rarity.predicted.low,
                it.rarity.predicted.high,
            ),
        ),
        places=_places(hit),
        step_first=0,
        step_last=0,
        evidence="",
    )
