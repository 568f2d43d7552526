"""Making findings of what an examination shows."""

from __future__ import annotations

from collections.abc import Sequence

from deephochuli.analysis._finding import Finding, Level, Number, PlaceEvidence


def finding(
    kind: str,
    level: Level,
    title: str,
    *,
    places: Sequence[PlaceEvidence],
    summary: str,
    why: str,
    advice: str,
    code: str = "",
    numbers: Sequence[Number] = (),
    score: float | None = None,
) -> Finding:
    """Build a finding about a state, which has no steps; the first place is the worst one."""
    worst = places[0] if places else PlaceEvidence("", "", 0.0)
    return Finding(
        kind=kind,
        level=level,
        score=min(1.0, worst.value if score is None else score),
        title=title,
        layer=worst.layer,
        quantity=worst.quantity,
        summary=summary,
        why=why,
        advice=advice,
        code=code,
        numbers=tuple(numbers),
        places=tuple(places),
        step_first=0,
        step_last=0,
        evidence="",
    )


def place(layer: str, quantity: str, value: float = 1.0) -> PlaceEvidence:
    """One place with the number that ranks it."""
    return PlaceEvidence(layer, quantity, float(value))


def worst_first(places: Sequence[PlaceEvidence]) -> list[PlaceEvidence]:
    """Places by their number, largest first, in a stable order."""
    return sorted(places, key=lambda p: -p.value)


def named(places: Sequence[PlaceEvidence], most: int = 3) -> str:
    """The first places by name, and how many there are besides."""
    shown = ", ".join(repr(p.layer) for p in places[:most])
    return f"{shown} and {len(places) - most} more" if len(places) > most else shown
