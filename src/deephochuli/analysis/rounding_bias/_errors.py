"""Rounding errors in gaps between neighbours, and how far they could have gone."""

# Operators of torch have partial types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deephochuli.analysis.rounding_bias._evidence import Floats
from deephochuli.arithmetic import round_to
from deephochuli.formats import Format, Rounding


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of some elements in one step.

    Attributes:
        errors: rounded - exact, over the gap between the two neighbours of the exact number.
        below: Distance from the lower neighbour to the exact number, in gaps.
        above: Distance to the upper neighbour; both 0 where the exact number is one of the format,
            and where an element is left out.
        sign: Sign of the exact number.
    """

    errors: Floats
    below: Floats
    above: Floats
    sign: Floats

    def along(self, direction: Floats) -> tuple[Floats, Floats, Floats]:
        """Errors and their reach seen along a direction of 1, 0 or -1 for each element."""
        turned = direction < 0
        is_in = direction != 0
        below = np.where(turned, self.above, self.below) * is_in
        above = np.where(turned, self.below, self.above) * is_in
        return self.errors * direction, below, above


def errors_of(
    exact: Tensor, rounded: Tensor, largest: Tensor, fmt: Format, margin: float
) -> Errors:
    """Lay numbers beside exact ones.

    Args:
        exact: float64 [elements].
        rounded: The same as kept in `fmt`, as float64.
        largest: The largest number that had a part in each of them: where the result has shrunk by
            more than a binade its own gap does not measure the rounding, and it is left out.
        fmt: Format that they are kept in.
        margin: How much farther than to a neighbour an error may go, in gaps, because operators
            before the last one round too; elements beyond are left out.

    Numerics:
        Neighbours by directed rounding in `fmt`, exactly; all else in binary64.
    """
    low = round_to(exact, fmt, rounding=Rounding.DOWN)
    high = round_to(exact, fmt, rounding=Rounding.UP)
    gap = high - low
    safe = torch.where(gap > 0, gap, 1.0)
    below, above = (exact - low) / safe, (high - exact) / safe
    error = (rounded - exact) / safe
    is_in = (gap > 0) & gap.isfinite() & rounded.isfinite() & (exact.abs() * 2 >= largest.abs())
    is_in &= (error >= -below - margin) & (error <= above + margin)
    parts = (error, below + margin, above + margin, exact.sign())
    return Errors(*(np.asarray(torch.where(is_in, part, 0.0)) for part in parts))


def overshoot_of(exact: Tensor, rounded: Tensor, largest: Tensor, fmt: Format) -> float:
    """How far errors go beyond the neighbours, in gaps: the largest of all but one in a hundred."""
    wide = errors_of(exact, rounded, largest, fmt, 1.0)
    beyond = np.maximum(-wide.errors - (wide.below - 1), wide.errors - (wide.above - 1))
    used = beyond[wide.below > 0]
    return max(0.0, float(np.quantile(used, 0.99))) if len(used) else 0.0
