"""What the theorem on affine pieces under noisy gradient descent assumes, measured."""

from __future__ import annotations

from deephochuli.analysis.assumptions import _sheet as _sheet  # which registers itself
from deephochuli.analysis.assumptions._asked import assumptions_between
from deephochuli.analysis.assumptions._assumptions import assumptions
from deephochuli.analysis.assumptions._bound import most_bends
from deephochuli.analysis.assumptions._path import Path, paths
from deephochuli.analysis.assumptions._result import Assumptions, BiasUpdates, LayerSlopes
from deephochuli.analysis.assumptions._watch import AssumptionWatch

__all__ = [
    "AssumptionWatch",
    "Assumptions",
    "BiasUpdates",
    "LayerSlopes",
    "Path",
    "assumptions",
    "assumptions_between",
    "most_bends",
    "paths",
]
