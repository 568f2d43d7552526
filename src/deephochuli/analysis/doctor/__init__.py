"""What arithmetic torch really uses here, and what hides in a model before it is trained."""

from __future__ import annotations

from deephochuli.analysis.doctor._checkpoint import SUFFIX as CHECKPOINT_SUFFIX
from deephochuli.analysis.doctor._diagnosis import Diagnosis as Diagnosis
from deephochuli.analysis.doctor._diagnosis import DtypeRow as DtypeRow
from deephochuli.analysis.doctor._diagnosis import doctor as doctor
from deephochuli.analysis.doctor._machine import Fact as Fact

__all__ = ["CHECKPOINT_SUFFIX", "Diagnosis", "DtypeRow", "Fact", "doctor"]
