"""How blocks are scaled, rounded and scaled back, on patterns of binary64.

Scaling by a power of two is an addition to the exponent field, so nothing is rounded but the
elements, whatever the size of the numbers and whatever the flush-to-zero flags.
"""

# torch says little about the types of some methods.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import math

import torch
from torch import Tensor

from deephochuli.formats import BINARY64, Overflow, Rounding, format_of_dtype
from deephochuli.kernels.rounding import RoundingPlan, StochasticKey, plan_for, round_into
from deephochuli.kernels.rounding._patterns import from_binary64, to_binary64

_STORED, _BIAS = BINARY64.precision - 1, BINARY64.bias
_MAGNITUDE = (1 << 63) - 1
_INFINITY, _NAN = 0x7FF << 52, 0x7FF8 << 48
_LEAST = 1 << _STORED
# Range of the exponents of E8M0.
_MAX_SCALE = 127


def largest_of_blocks(magnitude: Tensor, block: int, dim: int) -> Tensor:
    """The largest of each block along a dimension, given to every element of the block.

    The last block of a row may have fewer elements.
    """
    rows = magnitude.movedim(dim, -1)
    n = rows.shape[-1]
    padded = torch.nn.functional.pad(rows, (0, -n % block))
    largest = padded.unflatten(-1, (-1, block)).amax(-1)
    return largest.repeat_interleave(block, -1)[..., :n].movedim(-1, dim)


def round_scaled_by_powers(
    x: Tensor, plan: RoundingPlan, block: int, dim: int, key: StochasticKey | None
) -> Tensor:
    """Round with an E8M0 scale: 2^(floor(log2 amax) - emax), in the range of E8M0.

    A block with a NaN or an infinity becomes NaN, which is what its scale then is.
    """
    patterns = to_binary64(x.contiguous())
    magnitude = patterns & _MAGNITUDE
    largest = largest_of_blocks(magnitude, block, dim)
    k = ((largest >> _STORED) - _BIAS - plan.fmt.emax).clamp(-_MAX_SCALE, _MAX_SCALE)
    # What is far below every value matters in not being zero, and in its sign.
    scaled = (magnitude - (k << _STORED)).clamp(min=_LEAST)
    scaled = torch.where(magnitude < _LEAST, _LEAST, scaled).masked_fill(magnitude == 0, 0)
    scaled |= patterns & ~_MAGNITUDE
    values = scaled.view(torch.float64).contiguous()
    round_into(values, values, plan, key)
    rounded = values.view(torch.int64)
    back = rounded + (k << _STORED)
    back = torch.where(rounded & _MAGNITUDE == 0, rounded, back)
    return from_binary64(back.masked_fill(largest >= _INFINITY, _NAN), x.dtype)


def round_scaled_by_values(
    x: Tensor,
    plan: RoundingPlan,
    scale: RoundingPlan,
    block: int,
    dim: int,
    key: StochasticKey | None,
    unit: float,
) -> Tensor:
    """Round with a scale that has a significand: amax / max_finite, rounded to its format.

    Args:
        x: Tensor to round.
        plan: For the elements.
        scale: For the scales.
        block: Elements that share a scale.
        dim: Dimension along which blocks lie.
        key: For stochastic rounding of the elements.
        unit: What scales are multiples of.
    """
    wide = from_binary64(to_binary64(x.contiguous()), torch.float64)
    magnitude = wide.abs()
    largest = largest_of_blocks(magnitude, block, dim)
    scales = (largest / (unit * plan.fmt.max_finite)).contiguous()
    round_into(scales, scales, scale)
    scales = scales.masked_fill(~torch.isfinite(largest), torch.nan)
    step = scales * unit
    quotient = torch.where(step > 0, wide / step, wide * 0)
    round_into(quotient, quotient, plan, key)
    result = (quotient * step).masked_fill(step.isnan(), torch.nan)
    own = format_of_dtype(str(x.dtype))
    return from_binary64(_rounded(result, own.name).view(torch.int64), x.dtype)


def unit_of(x: Tensor, plan: RoundingPlan, scale: RoundingPlan) -> float:
    """The amax of x over the largest number that an element with its scale can be, in binary32.

    1 where x is zero or empty, NaN where it holds a NaN or an infinity.
    """
    if not x.numel():
        return 1.0
    largest = from_binary64(to_binary64(x.abs().amax().reshape(1)), torch.float64)
    if not bool(torch.isfinite(largest).all()):
        return math.nan
    most = scale.fmt.max_finite * plan.fmt.max_finite
    return _rounded(largest / most, "fp32").item() or 1.0


def _rounded(values: Tensor, name: str) -> Tensor:
    """A float64 tensor rounded to a format of the catalogue."""
    plan = plan_for(format_of_dtype(name), Rounding.NEAREST_EVEN, Overflow.INFINITY, "float64")
    result = torch.empty_like(values)
    round_into(values, result, plan)
    return result
