"""The quick way to round blocks, where nothing can go wrong.

Where the largest number of every block is zero or well inside the range of binary32, scaling is
exact in binary32 (a power of two), or a quotient in binary64, for all numbers but those far below
every value of the elements, which round to zero whatever is left of them.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from deephochuli.formats import Overflow, Rounding, format_of_dtype
from deephochuli.kernels.rounding import (
    BlockScale,
    RoundingPlan,
    StochasticKey,
    plan_for,
    round_blocks_into,
    round_into,
)

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
    if not _is_easy_kind(x, plan, block, dim) or not _is_near_one(plan):
        return None
    narrow = _narrowed(plan)
    rounded = torch.empty_like(x)
    if round_blocks_into(x, rounded, narrow, block, key):
        return rounded
    rows = x.reshape(-1, block).float()
    largest = rows.abs().amax(1)
    is_easy = ((largest >= _LEAST) & (largest < torch.inf)) | (largest == 0)
    if not bool(is_easy.all()):
        return None
    k = ((largest.view(torch.int32) >> _STORED) - _BIAS - plan.fmt.emax).clamp(min=-_BIAS + 1)
    scaled = rows * _power_of_two(-k)[:, None]
    round_into(scaled, scaled, narrow, key)
    scaled *= _power_of_two(k)[:, None]
    return scaled.reshape(x.shape).to(x.dtype)


def round_easy_blocks_by_values(
    x: Tensor,
    plan: RoundingPlan,
    scale: RoundingPlan,
    block: int,
    dim: int,
    key: StochasticKey | None,
    unit: float,
) -> Tensor | None:
    """The same for scales with a significand.

    Args:
        x: Tensor to round.
        plan: For the elements, in binary64.
        scale: For the scales, in binary64.
        block: Elements that share a scale.
        dim: Dimension along which blocks lie.
        key: For stochastic rounding.
        unit: What scales are multiples of.
    """
    if not _is_easy_kind(x, plan, block, dim):
        return None
    rounded = torch.empty_like(x)
    if round_blocks_into(x, rounded, _narrowed(plan), block, key, _scale_of(scale, unit)):
        return rounded
    rows = x.reshape(-1, block)
    largest = rows.abs().amax(1).double()
    scales = largest / (unit * plan.fmt.max_finite)
    round_into(scales, scales, scale)
    step = torch.where(largest == 0, 1.0, scales * unit)[:, None]
    is_easy = (step >= _LEAST) & (step <= 1 / _LEAST) & torch.isfinite(largest)[:, None]
    if not bool(is_easy.all()):
        return None
    quotient = rows.double() / step
    round_into(quotient, quotient, plan, key)
    quotient *= step
    own = plan_for(
        format_of_dtype(str(x.dtype)), Rounding.NEAREST_EVEN, Overflow.INFINITY, "float64"
    )
    round_into(quotient, quotient, own)
    return quotient.reshape(x.shape).to(x.dtype)


@functools.cache
def _narrowed(plan: RoundingPlan) -> RoundingPlan:
    """The same rounding of binary32 numbers, saturating."""
    return plan_for(plan.fmt, plan.rounding, Overflow.SATURATE, "float32")


@functools.lru_cache(maxsize=64)
def _scale_of(plan: RoundingPlan, unit: float) -> BlockScale:
    """The same object for the same scale: it is looked up faster than one that is equal."""
    return BlockScale(plan, unit)


@functools.cache
def _is_near_one(plan: RoundingPlan) -> bool:
    return plan.fmt.emin >= -32


def _is_easy_kind(x: Tensor, plan: RoundingPlan, block: int, dim: int) -> bool:
    """Whether the quick ways know this kind of tensor and rounding."""
    is_last = dim in (-1, x.dim() - 1) and x.is_contiguous() and x.numel() > 0
    if not is_last or x.shape[-1] % block or plan.rounding not in _MODES:
        return False
    return x.dtype != torch.float64 and x.is_cpu


def _power_of_two(k: Tensor) -> Tensor:
    """2^k as binary32, for k of its normal range."""
    return ((k + _BIAS) << _STORED).view(torch.float32)
