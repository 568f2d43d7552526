"""Rounding bias: whether rounding errors take one side, followed while a model is trained."""

from __future__ import annotations

from deephochuli.analysis.rounding_bias import _sheet as _sheet  # which registers itself
from deephochuli.analysis.rounding_bias._asked import rounding_bias
from deephochuli.analysis.rounding_bias._evidence import (
    Evidence,
    self_normalised_evidence,
    tilted_evidence,
    tilted_gains,
)
from deephochuli.analysis.rounding_bias._observer import RoundingBias
from deephochuli.analysis.rounding_bias._result import Bias, BiasRow, Direction
from deephochuli.analysis.rounding_bias._student import student_p, student_reach
from deephochuli.analysis.rounding_bias._summary import summary_of, t_of

__all__ = [
    "Bias",
    "BiasRow",
    "Direction",
    "Evidence",
    "RoundingBias",
    "rounding_bias",
    "self_normalised_evidence",
    "student_p",
    "student_reach",
    "summary_of",
    "t_of",
    "tilted_evidence",
    "tilted_gains",
]
