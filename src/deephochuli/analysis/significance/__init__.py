"""How many bits of activations, gradients and updates are significant, and which decisions are."""

from __future__ import annotations

from deephochuli.analysis.significance._bits import (
    bernoulli_probability,
    deviation_factor,
    estimated_bits,
    penalty_bits,
)
from deephochuli.analysis.significance._drift import Drift, bias_drift
from deephochuli.analysis.significance._result import BranchStability, LayerBits, Significance
from deephochuli.analysis.significance._runs import Loss, Patient, Task, call, copied, loss_of
from deephochuli.analysis.significance._sheet import drift_sheet
from deephochuli.analysis.significance._significance import significance

__all__ = [
    "BranchStability",
    "Drift",
    "LayerBits",
    "Loss",
    "Patient",
    "Significance",
    "Task",
    "bernoulli_probability",
    "bias_drift",
    "call",
    "copied",
    "deviation_factor",
    "drift_sheet",
    "estimated_bits",
    "loss_of",
    "penalty_bits",
    "significance",
]
