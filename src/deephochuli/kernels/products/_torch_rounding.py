"""Rounding of binary64 tensors to narrower formats, in integer operations of torch.

The results do not depend on flags that flush subnormal numbers to zero: what is subnormal in
binary32 is only ever handled as binary64 or as a pattern.
"""

# torch's broadcast_tensors carries no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import torch

from deephochuli.formats import BINARY64, Format, Overflow, Rounding
from deephochuli.kernels._reference import exact_double, stored_bits

_FRACTION = (1 << 52) - 1
_SIGN = -(1 << 63)
_MAGNITUDE = (1 << 63) - 1
_INFINITY = 0x7FF << 52


def power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """2^e as binary64, for int64 e of normal numbers."""
    return ((exponent + 1023) << 52).view(torch.float64)


def widened(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in binary64."""
    return exact_double(x.contiguous())


def narrowed(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Numbers that are values of a dtype, binary64 or binary32, in that dtype."""
    if dtype == torch.float64:
        return x
    bits = stored_bits(x)
    small = (bits & _MAGNITUDE) < ((1023 - 126) << 52)
    units = (torch.where(small, x, torch.zeros_like(x)).abs() * 2.0**149).to(torch.int32)
    pattern = torch.where(bits < 0, units | -(1 << 31), units)
    wide = torch.where(small, torch.ones_like(x), x).to(torch.float32)
    return torch.where(small, pattern, stored_bits(wide)).view(torch.float32)


def sum_to_odd(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Sum in binary64, rounded to odd: a second rounding to 51 bits or less is then harmless.

    Boldo, Melquiond 2008. The error of the sum is found by TwoSum (Knuth).
    """
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    bits = stored_bits(total)
    adjusts = (error != 0) & ((bits & 1) == 0) & ((bits & _MAGNITUDE) < _INFINITY)
    step = torch.where((error > 0) == (total > 0), 1, -1)
    return torch.where(adjusts, bits + step, bits).view(torch.float64)


def rounded(
    x: torch.Tensor, fmt: Format, mode: Rounding, overflow: Overflow | None = None
) -> torch.Tensor:
    """Binary64 numbers rounded to a format with signed zeros and subnormals.

    Args:
        x: Numbers; subnormal binary64 numbers only if the format is binary64.
        fmt: Format.
        mode: Any but stochastic.
        overflow: What stands beyond `max_finite`, also where the mode would stay below it; None:
            the format's policy, and the mode decides.
    """
    if fmt == BINARY64:
        return x
    bits = stored_bits(x)
    magnitude, negative = bits & _MAGNITUDE, bits < 0
    exponent = (magnitude >> 52) - 1023
    drop = (53 - fmt.precision + (fmt.emin - exponent).clamp_min(0)).clamp_max(60)
    significand = (magnitude & _FRACTION) | (1 << 52)
    quotient = significand >> drop
    rest = significand - (quotient << drop)
    quotient = quotient + _rounds_up(rest, quotient, drop, negative, mode)
    # Beyond 2^-149 nothing is left of the quotient but 0 or 1, whatever was dropped.
    unit = torch.maximum(exponent - 52 + drop, torch.full_like(drop, fmt.emin - fmt.precision + 1))
    value = quotient.to(torch.float64) * power_of_two(unit)
    beyond = value > fmt.max_finite
    if overflow is None:
        value = torch.where(beyond, _limit(fmt, mode, negative), value)
    else:
        value = torch.where(beyond, _beyond(fmt, overflow), value)
    value = torch.where(negative, -value, value)
    value = torch.where(magnitude == 0, x, value)
    return torch.where(magnitude >= _INFINITY, _special(x, fmt), value)


def _rounds_up(
    rest: torch.Tensor,
    quotient: torch.Tensor,
    drop: torch.Tensor,
    negative: torch.Tensor,
    mode: Rounding,
) -> torch.Tensor:
    """1 where the magnitude is rounded up."""
    inexact, odd = rest != 0, (quotient & 1) == 1
    half = torch.ones_like(drop) << (drop - 1)
    if mode is Rounding.NEAREST_EVEN:
        up = (rest > half) | ((rest == half) & odd)
    elif mode is Rounding.NEAREST_AWAY:
        up = rest >= half
    elif mode is Rounding.ODD:
        up = inexact & ~odd
    elif mode is Rounding.TOWARD_ZERO:
        up = torch.zeros_like(inexact)
    else:
        up = inexact & (negative == (mode is Rounding.DOWN))
    return up.to(torch.int64)


def _beyond(fmt: Format, policy: Overflow) -> float:
    """Magnitude that stands for a number beyond the format."""
    if policy is Overflow.SATURATE:
        return fmt.max_finite
    return float("inf") if policy is Overflow.INFINITY else float("nan")


def _limit(fmt: Format, mode: Rounding, negative: torch.Tensor) -> torch.Tensor:
    """The same, where a mode may stay below the largest value by its own direction."""
    stays = {
        Rounding.TOWARD_ZERO: torch.ones_like(negative),
        Rounding.ODD: torch.ones_like(negative),
        Rounding.UP: negative,
        Rounding.DOWN: ~negative,
    }.get(mode, torch.zeros_like(negative))
    size, device = _beyond(fmt, fmt.overflow), negative.device
    beyond = torch.full(negative.shape, size, dtype=torch.float64, device=device)
    return torch.where(stays, fmt.max_finite, beyond)


def _special(x: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Infinities and NaN; an infinity where the format has none follows its policy."""
    if fmt.has_infinities and fmt.overflow is not Overflow.SATURATE:
        return x
    replaced = torch.copysign(torch.full_like(x, _beyond(fmt, fmt.overflow)), x)
    return torch.where(x.isnan(), x, replaced)


def round_values(x: torch.Tensor, fmt: Format, mode: Rounding) -> torch.Tensor:
    """Values of a format, in the dtype of x."""
    value = rounded(widened(x), fmt, mode)
    if x.dtype in (torch.float32, torch.float64):
        return narrowed(value, x.dtype)
    return narrowed(value, torch.float32).to(x.dtype)


def add_rounded(x: torch.Tensor, y: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Sum, rounded once to nearest, in the dtype of x."""
    wide = torch.float64 if fmt == BINARY64 else torch.float32
    if fmt.precision in (24, 53) and x.dtype == wide:
        return x + y
    both = torch.broadcast_tensors(x, y)
    total = rounded(sum_to_odd(widened(both[0]), widened(both[1])), fmt, Rounding.NEAREST_EVEN)
    return narrowed(total, x.dtype)
