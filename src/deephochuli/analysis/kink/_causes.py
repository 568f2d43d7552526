"""Why a pre-activation is exactly zero."""

# torch leaves much of its interface without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from deephochuli.analysis.kink._shadow import Shadow
from deephochuli.formats import Format

Cause = Literal["structural", "exact", "cancellation", "underflow", "unknown"]
"""Why z is 0:

structural: every term of its sum is 0 (an empty patch, a dead input, a channel without weights).
exact: terms are not 0 and their exact sum is: numbers on a coarse grid, as quantised data.
cancellation: the exact sum is not 0; rounding on the way made the partial sums cancel.
underflow: the exact sum is not 0 but so small that the format rounds or flushes it to 0.
unknown: an operator in between is not followed, or binary64 cannot tell the exact sum from 0.
"""

CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
MOST_ASKED = 256
"""Elements of one pre-activation whose exact sum is formed in rationals."""

NUMERICAL: Final[tuple[Cause, ...]] = ("exact", "cancellation", "underflow", "unknown")
"""All causes but the structural one, which no arithmetic can change."""


def causes_of(
    z: Tensor,
    found: Tensor,
    shadow: Shadow | None,
    smallest: float,
    exact_sum: Callable[[int], Fraction | None],
) -> dict[Cause, int]:
    """Count the causes of the elements of a pre-activation that lie at a kink.

    Args:
        z: The pre-activation.
        found: Flat indices of the elements.
        shadow: What they would be without rounding; None where that is not known.
        smallest: Magnitudes up to this are rounded or flushed to zero.
        exact_sum: The exact value of one element by its flat index, where it can be told; asked
            for at most `MOST_ASKED` elements that the shadow leaves open.

    Numerics:
        The exact sum is bracketed by `Shadow.value` and `Shadow.error`; where 0 lies inside and the
        error is not 0, it is formed in rationals. Kinks elsewhere than at 0 are "unknown".
    """
    counts: dict[Cause, int] = dict.fromkeys(CAUSES, 0)
    if shadow is None:
        counts["unknown"] = found.numel()
        return counts
    at_zero = found[z.flatten()[found] == 0]
    value, magnitude, error = (
        each.reshape(-1)[at_zero] for each in (shadow.value, shadow.magnitude, shadow.error)
    )
    is_empty = magnitude == 0
    is_open = (value.abs() <= error) & ~is_empty
    is_small = (value.abs() <= smallest) & ~is_empty & ~is_open
    counts["structural"] = int(is_empty.sum())
    counts["exact"] = int((is_open & (error == 0)).sum())
    counts["underflow"] = int(is_small.sum())
    counts["unknown"] = found.numel() - at_zero.numel()
    undecided: list[Any] = at_zero[is_open & (error > 0)].tolist()
    for index in undecided[:MOST_ASKED]:
        counts[_cause_of(exact_sum(index), smallest)] += 1
    counts["unknown"] += len(undecided[MOST_ASKED:])
    counts["cancellation"] += found.numel() - sum(counts.values())
    return counts


def _cause_of(exact: Fraction | None, smallest: float) -> Cause:
    if exact is None:
        return "unknown"
    if not exact:
        return "exact"
    return "underflow" if abs(exact) <= smallest else "cancellation"


def smallest_kept(fmt: Format, dtype: torch.dtype) -> float:
    """The largest magnitude that storing as `fmt` makes zero, on this thread as it is now.

    Numerics:
        Half of the smallest subnormal; the number below the smallest normal where the processor
        flushes subnormal results of this dtype, which is tried.
    """
    if dtype in (torch.float32, torch.float64):
        tiny = torch.full((16,), torch.finfo(dtype).tiny / 4, dtype=dtype, device="cpu")
        if float((tiny * 1.5).abs().max()) == 0:
            return max(fmt.zero_threshold, torch.finfo(dtype).tiny * (1 - 2**-24))
    return fmt.zero_threshold
