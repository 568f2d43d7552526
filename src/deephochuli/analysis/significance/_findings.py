"""Findings about results with few significant digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deephochuli.analysis._finding import (
    Finding,
    Level,
    Number,
    PlaceEvidence,
    percent,
    ranked,
)
from deephochuli.analysis.significance._result import BranchStability, LayerBits

FEW_BITS = 2.0
"""Below this many guaranteed bits the leading digit of a number is in doubt."""

UNSTABLE = 0.01
"""Share of decisions from which on it is said that they hang on rounding."""

_NAMES = {
    "a": "Outputs",
    "da": "Gradients of outputs",
    "g": "Gradients of weights",
    "dw": "Updates",
}


def find(
    layers: Sequence[LayerBits], branches: Sequence[BranchStability], n_samples: int
) -> tuple[Finding, ...]:
    """What should be known about the significant bits of a model, worst first."""
    found = [f for quantity in _NAMES for f in _few_bits(layers, quantity, n_samples)]
    return tuple(ranked([*found, *_unstable(branches, n_samples)]))


def _layers(n: int) -> str:
    return "1 layer have" if n == 1 else f"{n} layers have"


def _few_bits(layers: Sequence[LayerBits], quantity: str, n_samples: int) -> Iterator[Finding]:
    rows = [row for row in layers if row.quantity == quantity and row.guaranteed < FEW_BITS]
    if not rows:
        return
    rows.sort(key=lambda row: row.guaranteed)
    worst = rows[0]
    level: Level = "warning" if quantity in ("g", "dw", "a") and worst.median < 1 else "note"
    yield Finding(
        kind="few-significant-bits",
        level=level,
        score=1 - min(1.0, worst.median / worst.precision),
        title=f"{_NAMES[quantity]} of {_layers(len(rows))} less than "
        f"{FEW_BITS:.0f} guaranteed significant bits",
        layer=worst.layer,
        quantity=quantity,
        summary=f"At {worst.layer!r} half of the elements have at most {worst.median:.1f} of "
        f"{worst.precision} bits, {worst.guaranteed:.1f} guaranteed from {n_samples} runs.",
        why="Digits beyond these change when rounding errors change: with another device, thread "
        "count, batch split or library they are other digits.",
        advice="Find the difference of nearly equal numbers before this layer and compute it in a "
        "wider format, or in a form that does not subtract; check that a result compared to the "
        "last digits here is no test.",
        code="",
        numbers=(
            Number("median of significant bits", worst.median, "", *worst.quantiles[::3]),
            Number("guaranteed bits", worst.guaranteed),
        ),
        places=tuple(
            PlaceEvidence(row.layer, quantity, row.median, row.quantiles[0], row.quantiles[3])
            for row in rows
        ),
        step_first=0,
        step_last=0,
        evidence="",
    )


def _unstable(branches: Sequence[BranchStability], n_samples: int) -> Iterator[Finding]:
    rows = sorted((r for r in branches if r.share >= UNSTABLE), key=lambda row: -row.share)
    if not rows:
        return
    worst = rows[0]
    yield Finding(
        kind="unstable-branches",
        level="warning" if any(row.kind == "argmax" for row in rows) else "note",
        score=worst.share,
        title=f"{percent(worst.share)} of the {worst.kind} decisions of {worst.layer!r} hang on "
        "rounding",
        layer=worst.layer,
        quantity="z",
        summary=f"{worst.n_turned} decisions changed in {n_samples} runs, {worst.n_unstable} have "
        f"margins within their noise, of {worst.n_followed - worst.n_ties}.",
        why="On the other branch the gradient takes another way, or the output is another class.",
        advice="A change of device or batch size may turn these decisions: compare runs by scores "
        "with their margins, not by decisions.",
        code="",
        numbers=(Number("decisions that are not significant", worst.share, "share"),),
        places=tuple(PlaceEvidence(row.layer, "z", row.share) for row in rows),
        step_first=0,
        step_last=0,
        evidence="",
    )
