"""Findings about rounding that takes one side."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis._finding import (
    Finding,
    Level,
    Number,
    PlaceEvidence,
    percent,
    ranked,
)
from deephochuli.analysis.rounding_bias._result import BiasRow, Direction

MUCH = 0.05
"""Share of the updates that a bias takes away or adds, from which on it harms."""

_TOLD: dict[Direction, tuple[str, str]] = {
    "up": ("upwards", "downwards"),
    "outward": ("away from zero", "towards zero"),
    "drift": ("where their errors went before", "back"),
}


def find(rows: Sequence[BiasRow], alpha: float) -> tuple[Finding, ...]:
    """A finding for each direction and quantity with an alarm, worst first."""
    groups: dict[tuple[str, Direction], list[BiasRow]] = {}
    for row in rows:
        if row.alarm is not None:
            groups.setdefault((row.quantity, row.direction), []).append(row)
    return tuple(ranked([_finding(group, alpha) for group in groups.values()]))


def _harm(row: BiasRow) -> float:
    return abs(row.part) if row.part is not None else abs(row.mean.value)


def _finding(rows: list[BiasRow], alpha: float) -> Finding:
    worst = max(rows, key=_harm)
    harm = _harm(worst)
    level: Level = "warning" if harm >= MUCH else "note"
    where = _TOLD[worst.direction][worst.mean.value < 0]
    what = "Weights" if worst.quantity == "w" else "Outputs"
    part = "" if worst.part is None else f", {percent(abs(worst.part))} of its updates"
    return Finding(
        kind="rounding-bias",
        level=level,
        score=min(1.0, harm),
        title=f"{what} of {len(rows)} tensors are rounded {where}, step after step",
        layer=worst.layer,
        quantity=worst.quantity,
        summary=f"{worst.layer!r}: {worst.mean.value:+.3g} gaps of {worst.format} a step "
        f"[{worst.mean.low:+.3g}, {worst.mean.high:+.3g}] over {worst.n_steps} steps{part}; "
        f"from step {worst.alarm} on more evidence than one run in {1 / alpha:.0f} without a bias "
        "ever gives anywhere.",
        why="Errors of one sign add up in proportion to the number of steps instead of to its "
        "square root: weights go where the gradient does not send them, or stay where they are.",
        advice="Keep master weights in a wider format, round stochastically, or carry the error "
        "along (Kahan); where numbers are cut off, round to nearest instead.",
        code='arithmetic = replace(arithmetic, rounding="stochastic")',
        numbers=(
            Number("mean error", worst.mean.value, "gaps a step", worst.mean.low, worst.mean.high),
            Number("evidence", worst.evidence, "log10"),
        ),
        places=tuple(
            PlaceEvidence(row.layer, row.quantity, row.mean.value, row.mean.low, row.mean.high)
            for row in sorted(rows, key=_harm, reverse=True)
        ),
        step_first=min(row.alarm for row in rows if row.alarm is not None),
        step_last=max(row.alarm for row in rows if row.alarm is not None),
        evidence="",
    )
