"""Mean over steps with an interval, and the p-value of its being zero."""

from __future__ import annotations

import math

from deephochuli.analysis.rounding_bias._evidence import Floats
from deephochuli.analysis.rounding_bias._student import student_p, student_reach
from deephochuli.analysis.swamping import Estimate


def t_of(steps: Floats) -> tuple[Floats, Floats]:
    """Means over the last axis and their standard errors from the spread over the steps."""
    n = steps.shape[-1]
    return steps.mean(-1), steps.std(-1, ddof=1) / math.sqrt(n)


def summary_of(steps: Floats, confidence: float) -> tuple[Estimate, float]:
    """Mean of some steps with Student's interval, and its two-sided p-value.

    Args:
        steps: Mean error of each step; at least 2.
        confidence: Of the interval.

    Numerics:
        Steps are taken as independent draws; elements within a step need not be.

    Example:
        >>> import numpy as np
        >>> mean, p = summary_of(np.array([1.0, 2.0, 3.0]), 0.95)
        >>> mean.value, round(p, 4)
        (2.0, 0.0742)
    """
    mean, error = (float(each) for each in t_of(steps))
    if not error:
        return Estimate(mean, mean, mean), 0.0 if mean else 1.0
    n_free = len(steps) - 1
    half = student_reach(confidence, n_free) * error
    return Estimate(mean, mean - half, mean + half), float(student_p(mean / error, n_free))
