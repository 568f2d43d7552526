"""Questions to a run: one file a question, each with its definition, evidence and advice."""

from __future__ import annotations

from deephochuli.analysis import (
    dead_units,
    headroom,
    nonfinite,
    ranks,
    subnormals,
    underflow,
    updates,
)
from deephochuli.analysis._finding import LEVELS as LEVELS
from deephochuli.analysis._finding import Finding as Finding
from deephochuli.analysis._finding import Level as Level
from deephochuli.analysis._finding import Number as Number
from deephochuli.analysis._finding import PlaceEvidence as PlaceEvidence
from deephochuli.analysis._finding import percent as percent
from deephochuli.analysis._finding import ranked as ranked
from deephochuli.analysis._sheet import Axis as Axis
from deephochuli.analysis._sheet import Figure as Figure
from deephochuli.analysis._sheet import Series as Series
from deephochuli.analysis._sheet import Sheet as Sheet
from deephochuli.analysis._sheet import Table as Table
from deephochuli.analysis._tables import FOLDS as FOLDS
from deephochuli.analysis.range_fit import CANDIDATES as CANDIDATES
from deephochuli.analysis.range_fit import Fit as Fit
from deephochuli.analysis.range_fit import fit as fit
from deephochuli.store import RunReader

__all__ = [
    "CANDIDATES",
    "FOLDS",
    "LEVELS",
    "Axis",
    "Figure",
    "Finding",
    "Fit",
    "Level",
    "Number",
    "PlaceEvidence",
    "Series",
    "Sheet",
    "Table",
    "findings",
    "fit",
    "percent",
    "ranked",
]

_QUESTIONS = (nonfinite, updates, underflow, headroom, subnormals, dead_units, ranks)


def findings(run: RunReader) -> list[Finding]:
    """Ask a run every question, and rank what was found by harm, worst first."""
    return ranked([finding for question in _QUESTIONS for finding in question.find(run)])
