"""The kink of ReLU at zero: how often it is met exactly, and what hangs on its derivative."""

from __future__ import annotations

from deephochuli.analysis.kink import _sheet as _sheet  # which registers itself
from deephochuli.analysis.kink._at import kink_at
from deephochuli.analysis.kink._causes import CAUSES, Cause
from deephochuli.analysis.kink._execution import Execution
from deephochuli.analysis.kink._kink import kink
from deephochuli.analysis.kink._pools import Choice
from deephochuli.analysis.kink._result import BatchChange, Kink, KinkRun, PoolRow, ZeroRow
from deephochuli.analysis.kink._volume import Volume, bifurcation_volume

__all__ = [
    "CAUSES",
    "BatchChange",
    "Cause",
    "Choice",
    "Execution",
    "Kink",
    "KinkRun",
    "PoolRow",
    "Volume",
    "ZeroRow",
    "bifurcation_volume",
    "kink",
    "kink_at",
]
