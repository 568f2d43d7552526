"""Tensors as bit patterns of a carrier, and back; exact, whatever the flush-to-zero flags."""

from __future__ import annotations

import torch

_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
_HIDDEN32, _INFINITY32, _SIGN32 = 1 << 23, 0x7F800000, 1 << 31
# Bits of the significand and difference of the biases between binary32 and binary16.
_CUT16, _REBIAS16 = 13, 112


def to_patterns(x: torch.Tensor) -> torch.Tensor:
    """Patterns of binary64 for float64, of binary32 (zero-extended) for narrower types; int64."""
    if x.dtype == torch.float64:
        return x.view(torch.int64)
    if x.dtype == torch.float32:
        return x.view(torch.int32).to(torch.int64) & _MASK32
    narrow = x.view(torch.int16).to(torch.int64) & _MASK16
    return narrow << 16 if x.dtype == torch.bfloat16 else _from_binary16(narrow)


def from_patterns(patterns: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A tensor of some type from patterns of its carrier; the type must have all values."""
    if dtype == torch.float64:
        return patterns.view(dtype)
    if dtype == torch.float32:
        return _signed(patterns, 32).to(torch.int32).view(dtype)
    narrow = patterns >> 16 if dtype == torch.bfloat16 else _to_binary16(patterns)
    return _signed(narrow, 16).to(torch.int16).view(dtype)


def floor_log2(n: torch.Tensor) -> torch.Tensor:
    """floor(log2 n) of integers from 1 to 2^53, which binary64 holds; -1023 for 0."""
    return (n.to(torch.float64).view(torch.int64) >> 52) - 1023


def _signed(patterns: torch.Tensor, width: int) -> torch.Tensor:
    """The same bits as a signed integer of some width."""
    return patterns - ((patterns >> (width - 1)) << width)


def _from_binary16(half: torch.Tensor) -> torch.Tensor:
    magnitude = (half & 0x7FFF) << _CUT16
    field = magnitude >> 23
    leading = floor_log2(half & 0x3FF)
    tiny = ((leading + 103) << 23) + ((half & 0x3FF) << (23 - leading.clamp(min=0))) - _HIDDEN32
    tiny = torch.where((half & 0x3FF) == 0, 0, tiny)
    normal = magnitude + (_REBIAS16 << 23)
    special = magnitude + (2 * _REBIAS16 << 23)
    wide = torch.where(field == 0, tiny, torch.where(field == 31, special, normal))
    return wide + ((half >> 15) << 31)


def _to_binary16(patterns: torch.Tensor) -> torch.Tensor:
    magnitude = patterns & (_SIGN32 - 1)
    normal = (magnitude - (_REBIAS16 << 23)) >> _CUT16
    shift = (_REBIAS16 + 14 - (magnitude >> 23)).clamp(0, 31)
    tiny = ((magnitude & (_HIDDEN32 - 1)) | _HIDDEN32) >> shift
    special = (magnitude >> _CUT16) - (2 * _REBIAS16 << 10)
    narrow = torch.where(magnitude < (_REBIAS16 + 1) << 23, tiny, normal)
    narrow = torch.where(magnitude < _HIDDEN32, 0, narrow)
    narrow = torch.where(magnitude >= _INFINITY32, special, narrow)
    return narrow + ((patterns >> 31) << 15)


def to_binary64(x: torch.Tensor) -> torch.Tensor:
    """Patterns of binary64 of the values of a tensor of any carrier type; int64."""
    patterns = to_patterns(x)
    if x.dtype == torch.float64:
        return patterns
    magnitude = patterns & (_SIGN32 - 1)
    leading = floor_log2(magnitude & (_HIDDEN32 - 1))
    tiny = (leading + (1023 - 149)) << 52
    tiny += (magnitude << (52 - leading.clamp(min=0))) - (1 << 52)
    normal = (magnitude << 29) + (896 << 52)
    special = (magnitude << 29) + (1792 << 52)
    wide = torch.where(magnitude < _HIDDEN32, tiny, normal)
    wide = torch.where(magnitude == 0, 0, wide)
    wide = torch.where(magnitude >= _INFINITY32, special, wide)
    return wide | (patterns >> 31) << 63


def from_binary64(patterns: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A tensor of a carrier type from patterns of binary64; the type must have all values."""
    if dtype == torch.float64:
        return patterns.view(dtype)
    magnitude = patterns & ((1 << 63) - 1)
    field = magnitude >> 52
    significand = (magnitude & ((1 << 52) - 1)) | 1 << 52
    tiny = significand >> (926 - field).clamp(0, 63)
    normal = (magnitude - (896 << 52)) >> 29
    special = (magnitude >> 29) - (1792 << 23)
    narrow = torch.where(field < 897, tiny, normal)
    narrow = torch.where(field == 2047, special, narrow)
    narrow = torch.where(magnitude == 0, 0, narrow)
    return from_patterns(narrow + (patterns < 0) * _SIGN32, dtype)
