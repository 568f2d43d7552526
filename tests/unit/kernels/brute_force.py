"""Counting one element after the other, from its bits, without the code under test.

Every pattern is taken apart by integer arithmetic into sign, exponent field and fraction, and put
together as a binary64 number by `ldexp`: no conversion that a flush-to-zero flag could reach.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch

DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
)
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Layout:
    """How a type's patterns are read; `special` says what its largest exponent field holds."""

    bits: int
    fraction: int
    bias: int
    special: str  # "ieee", "fn" (all ones is NaN) or "fnuz" (the pattern of -0 is NaN)


LAYOUTS = {
    torch.float64: Layout(64, 52, 1023, "ieee"),
    torch.float32: Layout(32, 23, 127, "ieee"),
    torch.float16: Layout(16, 10, 15, "ieee"),
    torch.bfloat16: Layout(16, 7, 127, "ieee"),
    torch.float8_e4m3fn: Layout(8, 3, 7, "fn"),
    torch.float8_e5m2: Layout(8, 2, 15, "ieee"),
    torch.float8_e4m3fnuz: Layout(8, 3, 8, "fnuz"),
    torch.float8_e5m2fnuz: Layout(8, 2, 16, "fnuz"),
}


def patterns(x: torch.Tensor) -> np.ndarray:
    """Bit patterns as unsigned integers, in the order of the indices."""
    size = x.element_size()
    view = x.detach().reshape(-1).contiguous().view(INTEGERS[size]).numpy()
    return view.view(f"u{size}").astype(np.uint64)


def doubles(x: torch.Tensor) -> np.ndarray:
    """Exact binary64 values, in the order of the indices."""
    layout, raw = LAYOUTS[x.dtype], patterns(x)
    if x.dtype == torch.float64:
        return raw.view(np.float64)
    sign_bit = np.uint64(1) << np.uint64(layout.bits - 1)
    magnitude = raw & (sign_bit - np.uint64(1))
    field = (magnitude >> np.uint64(layout.fraction)).astype(np.int64)
    fraction = (magnitude & np.uint64(2**layout.fraction - 1)).astype(np.int64)
    significand = np.where(field > 0, fraction + 2**layout.fraction, fraction)
    value = np.ldexp(
        significand.astype(np.float64),
        (np.maximum(field, 1) - layout.bias - layout.fraction).astype(np.int32),
    )
    top = 2 ** (layout.bits - 1 - layout.fraction) - 1
    if layout.special == "ieee":
        value = np.where(field == top, np.where(fraction == 0, np.inf, np.nan), value)
    elif layout.special == "fn":
        value = np.where(magnitude == sign_bit - np.uint64(1), np.nan, value)
    else:
        value = np.where(raw == sign_bit, np.nan, value)
    return np.where((raw & sign_bit) != 0, -value, value)


def key(pattern: int) -> int:
    """Leading-bit key of one binary64 pattern, as its definition says."""
    exponent, fraction = pattern >> 52 & 0x7FF, pattern & (2**52 - 1)
    if exponent == 0x7FF and fraction:
        return 0x7FF8
    sticky = int(fraction % 2**49 != 0)
    return (pattern >> 63) << 15 | exponent << 4 | (fraction >> 49) << 1 | sticky


def key_counts(values: np.ndarray) -> dict[int, int]:
    """How often each key occurs."""
    found, counts = np.unique(values.view(np.uint64), return_counts=True)
    total: Counter[int] = Counter()
    for pattern, count in zip(found.tolist(), counts.tolist(), strict=True):
        total[key(pattern)] += count
    return dict(sorted(total.items()))


def finite(values: np.ndarray) -> np.ndarray:
    """The finite ones."""
    return values[(values.view(np.uint64) >> np.uint64(52) & np.uint64(0x7FF)) != 0x7FF]


def magnitudes(values: np.ndarray) -> list[int]:
    """Patterns of the finite magnitudes: integers in the order of the magnitudes."""
    return (finite(values).view(np.uint64) & np.uint64(2**63 - 1)).tolist()


def as_float(pattern: int) -> float:
    return float(np.array([pattern], np.uint64).view(np.float64)[0])


def check(summary, x: torch.Tensor) -> None:
    """Compare a summary with brute force: counts and extremes exactly, sums to rounding."""
    values = doubles(x)
    assert dict(zip(summary.keys.tolist(), summary.counts.tolist(), strict=True)) == key_counts(
        values
    )
    assert summary.keys.dtype == np.uint16
    assert summary.counts.dtype == np.int64
    assert (np.diff(summary.keys.astype(int)) > 0).all()
    sizes = magnitudes(values)
    nonzero = [size for size in sizes if size]
    assert bits_of(summary.min_abs) == bits_of(as_float(min(nonzero)) if nonzero else math.nan)
    assert bits_of(summary.max_abs) == bits_of(as_float(max(sizes)) if sizes else math.nan)
    good = finite(values)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = good * good
    check_sum(summary.sum, good)
    check_sum(summary.sum_sq, squares)


def check_sum(got: float, terms: np.ndarray) -> None:
    """A sum in binary64 is within n roundings of the exact one."""
    try:
        exact, scale = math.fsum(terms), math.fsum(abs(terms))
    except OverflowError:
        return  # beyond binary64: any non-finite or huge answer is as good as another
    if math.isfinite(scale):
        assert abs(got - exact) <= 2.0**-52 * (math.sqrt(len(terms)) + 8) * scale + 1e-300
    else:
        assert not math.isfinite(got) or abs(got) > 1e300


def check_channels(counts, x: torch.Tensor, dim: int) -> None:
    """Compare counts per channel with brute force, channel by channel."""
    values = doubles(x).reshape(x.shape)
    values = np.moveaxis(values, dim, 0)
    values = values.reshape(len(values), -1 if values.size else 0)
    is_finite = np.abs(values) < np.inf
    np.testing.assert_array_equal(counts.positive, ((values > 0) & is_finite).sum(1))
    np.testing.assert_array_equal(counts.zero, (values == 0).sum(1))
    np.testing.assert_array_equal(counts.negative, ((values < 0) & is_finite).sum(1))
    np.testing.assert_array_equal(counts.nonfinite, (~is_finite).sum(1))
    assert counts.n_per_channel == values.shape[1]


def sample(dtype: torch.dtype, n: int, seed: int, kind: str) -> torch.Tensor:
    """Numbers of one kind, as one-dimensional tensor."""
    rng = np.random.default_rng(seed)
    if kind == "patterns":  # every exponent, many NaNs with many payloads
        size = dtype.itemsize
        raw = rng.integers(0, 2 ** (8 * size), n, np.uint64, endpoint=False) if size < 8 else None
        raw = rng.integers(0, 2**64 - 1, n, np.uint64, endpoint=True) if raw is None else raw
        signed = raw.astype(f"u{size}").view(f"i{size}" if size > 1 else "u1")
        return torch.from_numpy(signed).view(dtype)
    x = torch.from_numpy(rng.standard_normal(n))
    if kind == "relu":
        x = x.relu()
    elif kind == "edges":  # few significand bits: many elements on key edges
        x = torch.round(x * 4) / 4
    elif kind == "tiny":
        x = x * 2.0 ** -{torch.float64: 1024, torch.float32: 130, torch.bfloat16: 130}.get(
            dtype, 16
        )
        if dtype == torch.float32 or dtype == torch.bfloat16:
            return narrow(x, dtype)
    elif kind == "special" and n > 8:
        x = x.clone()
        x[3], x[n // 2], x[-1], x[-2] = math.nan, math.inf, -math.inf, -0.0
    elif kind == "zero":
        x = x * 0
    return x.to(dtype)


def narrow(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """To binary32 or bfloat16 by numpy's conversion of few-bit numbers, safe from flags."""
    units = np.round(x.numpy() * 2.0**149).astype(np.int64)
    sign = np.where(units < 0, np.uint32(2**31), np.uint32(0)).astype(np.uint32)
    size = np.minimum(np.abs(units), 2**24 - 1).astype(np.uint32)  # patterns up to 2^-125
    raw = torch.from_numpy((sign | size).view(np.int32))
    return raw.view(torch.float32) if dtype == torch.float32 else bf16_of(raw)


def bf16_of(raw: torch.Tensor) -> torch.Tensor:
    """Keep the upper halves of binary32 patterns."""
    return (raw >> 16).to(torch.int16).view(torch.bfloat16)


KINDS = ("randn", "patterns", "relu", "edges", "tiny", "special", "zero")


def bits_of(x: float) -> str:
    """The pattern of a number, one for all NaNs; comparing numbers would flush subnormal ones."""
    return "nan" if x != x else struct.pack(">d", x).hex()
