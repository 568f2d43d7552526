"""Dead units by cause, over time, and who comes back to life in which arithmetic."""

from __future__ import annotations

from deephochuli.analysis.death._death import death
from deephochuli.analysis.death._low import Spec
from deephochuli.analysis.death._result import FATES, Death, LayerUnits

__all__ = ["FATES", "Death", "LayerUnits", "Spec", "death"]
