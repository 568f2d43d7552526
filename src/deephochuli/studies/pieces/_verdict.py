"""Parts of which claims are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deephochuli.studies._study import Claim, Verdict
from deephochuli.studies.pieces._fit import Estimate
from deephochuli.studies.pieces._read import Row

PAPER = "Karner, Kazeev, Petersen 2024"
OURS = "ours, as a control"


def same(row: Row) -> dict[str, Any]:
    """What rows of the same start and step have in common."""
    keys = ("kind", "start", "target", "log2_lr", "depth", "zoom", "width")
    return {key: row.params.get(key) for key in keys}


WIDEST = 0.5
"""An interval of an exponent that is wider than this decides nothing."""


def graded(found: Estimate, low: float, high: float, slower: str) -> tuple[Verdict, str]:
    """Confirmed within a range, or if the interval holds 1; refined below, as bounds may be."""
    if found.high - found.low > WIDEST:
        return "open", f"The interval is {found.high - found.low:.2g} wide: too few networks."
    if found.holds(low, high) or found.low <= 1 <= found.high:
        return "confirmed", "The interval agrees with an exponent of 1."
    return ("refined", slower) if found.high <= high else ("refuted", "It lies above the range.")


def at_most(found: Estimate, limit: float, because: str) -> tuple[Verdict, str]:
    """Whether an exponent is at most a limit: its whole interval must lie on one side."""
    if found.high <= limit:
        return "confirmed", because
    if found.low > limit:
        return "refuted", f"The whole interval lies above {limit:g}."
    return "open", f"The interval lies on both sides of {limit:g}."


def decided(
    cases: Sequence[Row],
    holds: bool,
    because: str,
    failing: str = "Not all cases agree: see the table.",
    otherwise: Verdict = "refuted",
) -> tuple[Verdict, str]:
    """Confirmed or not; open without cases."""
    if not cases:
        return "open", "Nothing was measured."
    return ("confirmed", because) if holds else (otherwise, failing)


def claim(
    text: str, source: str, expected: str, measured: str, verdict: Verdict, because: str
) -> Claim:
    """A claim; keyword order is that of the page."""
    return Claim(text, source, expected, measured, verdict, because)


def open_claim(text: str, measured: str = "too few points in this plan") -> Claim:
    """A claim for which the plan has too few points."""
    return claim(text, PAPER, "", measured, "open", "The whole plan measures it.")
