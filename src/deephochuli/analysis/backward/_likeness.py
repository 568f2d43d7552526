"""How alike two gradients are: angle, length and bias, with intervals from groups of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deephochuli.analysis.swamping import Estimate

Float64s = npt.NDArray[np.float64]

MOST_GROUPS = 32
_N, _EE, _RR, _ER, _E, _ABS = range(6)
_UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Likeness:
    """A gradient beside the exact one, e its error, r the exact gradient, q = r + e.

    Attributes:
        cosine: Cosine of the angle between q and r.
        scale: Norm of q over norm of r.
        bias: Sum of e over the sum of abs(r): the part of the error that has one sign.
    """

    cosine: Estimate
    scale: Estimate
    bias: Estimate


def group_sums(judged: Tensor, exact: Tensor) -> Float64s:
    """Sums of both over groups of the first dimension: samples, or the units of a weight.

    Args:
        judged: Any shape and floating dtype; a scalar is one group.
        exact: The same shape.

    Returns:
        A row for each of at most 32 groups: n, sum of e^2, r^2, e r, e and abs(r) over the elements
        where both are finite.
    """
    q = judged.detach().to("cpu", torch.float64)
    r = exact.detach().to("cpu", torch.float64)
    first = q.shape[0] if q.dim() else 1
    q, r = q.reshape(first, -1), r.reshape(first, -1)
    e = q - r
    known = e.isfinite()
    if not bool(known.all()):
        e, r = e.where(known, 0.0), r.where(known, 0.0)
    rows = (known.double(), e * e, r * r, e * r, e, r.abs())
    table = torch.stack([each.sum(1) for each in rows], 1)
    n_groups = min(first, MOST_GROUPS)
    group = torch.arange(first, device="cpu") * n_groups // max(1, first)
    out = torch.zeros(n_groups, len(rows), dtype=torch.float64, device="cpu")
    return out.index_add_(0, group, table).numpy()


def likeness(groups: Sequence[Float64s], confidence: float) -> Likeness:
    """Angle, length and bias of a gradient, from the sums of its groups.

    Args:
        groups: Tables of `group_sums`, of one tensor or of several that are looked at as one.
        confidence: Of the two-sided intervals.

    Numerics:
        In terms of e, so that nothing cancels: the tangent of the angle is the length of e's part
        across r over that of q along r. Intervals are those of the delete-a-group jackknife (Miller
        1974, Biometrika 61; Efron and Stein 1981) with Student's quantile, formed for the angle,
        for the logarithm of the length, and for the bias as it is. They say what other samples (of
        a weight: other units) of this kind would give; nan where there are fewer than two groups.

    Example:
        >>> r = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
        >>> round(likeness([group_sums(0.5 * r, r)], 0.95).scale.value, 9)
        0.5
    """
    table = np.concatenate(groups) if groups else np.zeros((0, 6))
    table = table[table[:, _N] > 0]
    total = table.sum(0) if len(table) else np.zeros(6)
    if not total[_RR] > 0:
        return Likeness(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    values = _measures(total[None])[0]
    n = len(table)
    if n < 2:
        spread = np.full(3, math.nan)
    else:
        without = _measures(total - table)
        with np.errstate(invalid="ignore"):  # a gradient that is zero without some group
            error = np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))
        spread = student_quantile((1 + confidence) / 2, n - 1) * error
    angle, length, bias = values
    with np.errstate(invalid="ignore"):
        low, high = values - spread, values + spread
    return Likeness(
        Estimate(math.cos(angle), _cosine(high[0]), _cosine(low[0])),
        Estimate(*(float(np.exp(each)) for each in (length, low[1], high[1]))),
        Estimate(float(bias), float(low[2]), float(high[2])),
    )


def _cosine(angle: float) -> float:
    return math.nan if math.isnan(angle) else math.cos(min(max(angle, 0.0), math.pi))


def _measures(sums: Float64s) -> Float64s:
    """Angle, logarithm of the length and bias of rows of sums; r may not vanish."""
    with np.errstate(divide="ignore", invalid="ignore"):
        along = sums[:, _RR] + sums[:, _ER]
        across = np.sqrt(np.maximum(0.0, sums[:, _EE] * sums[:, _RR] - sums[:, _ER] ** 2))
        square = np.maximum(0.0, sums[:, _RR] + 2 * sums[:, _ER] + sums[:, _EE])
        angle = np.where(square > 0, np.arctan2(across, along), math.nan)
        length = 0.5 * np.log(square / sums[:, _RR])
        return np.stack([angle, length, sums[:, _E] / sums[:, _ABS]], 1)


def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's distribution.

    Numerics:
        Expansion in 1 / degrees around the normal quantile to the fourth order (Abramowitz and
        Stegun 26.7.5): within 2e-3 from 5 degrees of freedom on for probabilities up to 0.99. One
        and two degrees in closed form.

    Example:
        >>> round(student_quantile(0.975, 31), 3)
        2.04
    """
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        part = 2 * probability - 1
        return part * math.sqrt(2 / (1 - part * part))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (i + 1) for i, term in enumerate(terms))
