"""The backward pass in several arithmetics: what is lost, where, and whether a scale helps."""

from __future__ import annotations

from deephochuli.analysis.backward import _sheet as _sheet  # which registers itself
from deephochuli.analysis.backward._backward import backward
from deephochuli.analysis.backward._fate import Fate
from deephochuli.analysis.backward._likeness import (
    Likeness,
    group_sums,
    likeness,
    student_quantile,
)
from deephochuli.analysis.backward._result import Backward, GradientRow, Range
from deephochuli.analysis.backward._scale import LossScale, TensorScale, loss_scale, tensor_scale

__all__ = [
    "Backward",
    "Fate",
    "GradientRow",
    "Likeness",
    "LossScale",
    "Range",
    "TensorScale",
    "backward",
    "group_sums",
    "likeness",
    "loss_scale",
    "student_quantile",
    "tensor_scale",
]
