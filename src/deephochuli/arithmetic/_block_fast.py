"""The quick way to round blocks whose scale is a power of two, where nothing can go wrong.

Where the largest number of every block is zero or well inside the range of binary32, scaling is a
product in binary32: exact for all numbers but those far below every value of the elements, which
round to zero whatever is left of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.formats import Overflow, Rounding
from deephochuli.kernels.rounding import RoundingPlan, StochasticKey, plan_for, round_into

# From here on a subnormal number is below 2^-32 of the smallest value of every element format.
_LEAST = 2.0**-60
_STORED, _BIAS = 23, 127
# The other modes must know of a number that it is not zero, however small it is.
_MODES = (Rounding.NEAREST_EVEN, Rounding.NEAREST_AWAY, Rounding.TOWARD_ZERO, Rounding.STOCHASTIC)


def round_easy_blocks(
    x: Tensor, plan: RoundingPlan, block: int, dim: int, key: StochasticKey | None
) -> Tensor | None:
    """Round whole blocks along the last dimension; None where that is not known to be exact.

    Args:
        x: Tensor to round.
        plan: For the elements, whatever the carrier.
        block: Elements that share a scale.
        dim: Dimension along which blocks lie.
        key: For stochastic rounding.
    """
    is_last = dim in (-1, x.dim() - 1) and x.is_contiguous() and x.numel() > 0
    if not is_last or x.shape[-1] % block or plan.rounding not in _MODES:
        return None
    if x.dtype == torch.float64 or x.device.type != "cpu" or plan.fmt.emin < -32:
        return None
    rows = x.reshape(-1, block).float()
    largest = rows.abs().amax(1)
    is_easy = ((largest >= _LEAST) & (largest < torch.inf)) | (largest == 0)
    if not bool(is_easy.all()):
        return None
    k = ((largest.view(torch.int32) >> _STORED) - _BIAS - plan.fmt.emax).clamp(min=-_BIAS + 1)
    scaled = rows * _power_of_two(-k)[:, None]
    narrow = plan_for(plan.fmt, plan.rounding, Overflow.SATURATE, "float32")
    round_into(scaled, scaled, narrow, key)
    scaled *= _power_of_two(k)[:, None]
    return scaled.reshape(x.shape).to(x.dtype)


def _power_of_two(k: Tensor) -> Tensor:
    """2^k as binary32, for k of its normal range."""
    return ((k + _BIAS) << _STORED).view(torch.float32)
