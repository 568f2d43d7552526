"""What an analysis says: evidence first, then what it means, then what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["critical", "warning", "note"]
LEVELS: tuple[Level, ...] = ("critical", "warning", "note")


@dataclass(frozen=True, slots=True)
class Number:
    """One measured number with its bounds.

    Attributes:
        label: What was measured.
        value: The number; the lower bound where only bounds are known.
        unit: "share" for numbers in [0, 1], "binades", "steps", "channels", "" for plain counts.
        low: Lower bound, or the smallest over the recorded steps; None when there is none.
        high: Upper bound, or the largest over the recorded steps; None when there is none.
    """

    label: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class PlaceEvidence:
    """How much one place contributes to a finding.

    Attributes:
        layer: Name of the place.
        quantity: z, a, dz, da, w, g, dw or state:NAME.
        value: The number that ranks the places of this finding, of its first ``Number``'s unit.
        low: Lower bound, or None.
        high: Upper bound, or None.
    """

    layer: str
    quantity: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that floating-point arithmetic did to a run.

    Attributes:
        kind: Short name of the mechanism, such as "swamped-updates".
        level: "critical" (training is damaged), "warning" (bits are lost), or "note".
        score: Harm in [0, 1], to rank findings of one level.
        title: One line: what happened, where, how much.
        layer: The place that is hit hardest.
        quantity: Its quantity.
        summary: How much, over which steps, how sure.
        why: Why it matters.
        advice: What to change.
        code: The line of code that helps.
        numbers: The evidence.
        places: All places concerned, worst first.
        step_first: First recorded step that shows it.
        step_last: Last one.
        evidence: Name of the series that shows it: "unmoved", "zero", "subnormal", "headroom",
            "silent_channels", "nonfinite".
    """

    kind: str
    level: Level
    score: float
    title: str
    layer: str
    quantity: str
    summary: str
    why: str
    advice: str
    code: str
    numbers: tuple[Number, ...]
    places: tuple[PlaceEvidence, ...]
    step_first: int
    step_last: int
    evidence: str


def ranked(findings: list[Finding]) -> list[Finding]:
    """Order findings by harm, worst first; ties by kind and layer, so that the order is stable."""
    return sorted(findings, key=lambda f: (LEVELS.index(f.level), -f.score, f.kind, f.layer))


def percent(share: float) -> str:
    """Write a share as a percentage with two or three significant digits.

    Example:
        >>> percent(0.98765), percent(0.0123), percent(0.0), percent(2e-6)
        ('98.8 %', '1.23 %', '0 %', '0.0002 %')
    """
    value = 100 * share
    if value == 0:
        return "0 %"
    if value >= 10:
        return f"{value:.1f} %" if value < 99.95 else f"{value:.4g} %"
    return f"{value:.3g} %" if value >= 1e-3 else f"{value:.1g} %".replace("e-0", "e-")
