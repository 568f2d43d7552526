"""Whether rounding pushes a quantity to one side, step after step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from deephochuli.analysis.significance._result import Significance
from deephochuli.errors import CompareError


@dataclass(frozen=True, slots=True)
class Drift:
    """Rounding bias of one tensor over several steps.

    Attributes:
        layer: The layer or parameter.
        quantity: "a", "da", "g" or "dw".
        n_steps: Steps that show it.
        bias: Mean over the steps of `LayerBits.bias`, in standard errors of one element.
        error: Standard error of that mean, from the spread over the steps.
        t: bias / error; beyond about 4 the bias has a direction.
    """

    layer: str
    quantity: str
    n_steps: int
    bias: float
    error: float
    t: float


def bias_drift(steps: Sequence[Significance]) -> tuple[Drift, ...]:
    """Put the biases of several steps of a training together.

    Args:
        steps: Results of `significance` at different steps, of the same model; at least 2.

    Returns:
        A row for each tensor that all steps show, largest t first.

    Raises:
        CompareError: Fewer than two steps.

    Numerics:
        The mean over elements of one step cannot be tested by itself: elements share their errors.
        Steps differ in their batch and weights, so their spread gives the standard error.
    """
    if len(steps) < 2:
        raise CompareError(f"A drift needs at least 2 steps, and {len(steps)} was given.")
    biases: dict[tuple[str, str], list[float]] = {}
    for step in steps:
        for row in step.layers:
            biases.setdefault((row.layer, row.quantity), []).append(row.bias)
    rows = [
        _drift(layer, quantity, values)
        for (layer, quantity), values in biases.items()
        if len(values) == len(steps)
    ]
    return tuple(sorted(rows, key=lambda row: -abs(row.t)))


def _drift(layer: str, quantity: str, values: list[float]) -> Drift:
    bias, error = fmean(values), stdev(values) / math.sqrt(len(values))
    t = bias / error if error else (math.copysign(math.inf, bias) if bias else 0.0)
    return Drift(layer, quantity, len(values), bias, error, t)
