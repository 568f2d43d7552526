"""What numbers become in each format, beside the casts of ml_dtypes and torch, and brute force."""

import math
from fractions import Fraction

import gfloat
import numpy as np
import pytest

from deephochuli.formats import (
    Overflow,
    Rounding,
    get_format,
    list_formats,
    round_array,
    round_scalar,
    round_to_code,
    round_to_codes,
)

from .brute_force import edges, extended_magnitudes, finite_magnitudes, nearest_index
from .judges import CASTS_OF_NUMPY, TORCH_SATURATES, cast_by_numpy, cast_by_torch, judges, one_nan
from .test_decoding import GFLOAT, bits

FAST_STRIDE = 255
"""Odd, so that all low bits occur: 16 843 010 patterns, more than 2^24."""


def mismatches(judge, x):
    """Number of inputs compared, and those for which the judge disagrees."""
    x = judge.judgeable(x)
    ours = round_to_codes(x, judge.fmt, overflow=judge.policy)
    wrong = one_nan(ours, judge.fmt) != judge.codes(x)
    return x.size, x[wrong]


def strided_binary32(stride, chunk=1 << 22):
    """Every stride-th of all binary32 patterns, by chunks."""
    for start in range(0, 1 << 32, chunk * stride):
        stop = min(start + chunk * stride, 1 << 32)
        yield np.arange(start, stop, stride, dtype=np.uint32).view(np.float32)


@pytest.mark.parametrize("judge", judges(), ids=str)
def test_values_middles_and_their_binary32_neighbours(judge):
    x = edges(extended_magnitudes(judge.fmt.name), np.float32)
    n, wrong = mismatches(judge, x)
    assert n > 2 * finite_magnitudes(judge.fmt.name).size
    assert wrong.size == 0, wrong


@pytest.mark.parametrize("source", ["fp16", "bf16"])
@pytest.mark.parametrize("judge", judges(), ids=str)
def test_all_patterns_of_the_16_bit_formats(judge, source):
    with np.errstate(all="ignore"):
        patterns = np.arange(1 << 16, dtype=np.uint16).view(CASTS_OF_NUMPY[source])
        _, wrong = mismatches(judge, patterns.astype(np.float32))
    assert wrong.size == 0, wrong


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3fn"])
def test_more_than_2_to_the_24_strided_binary32_numbers(name):
    beside = [j for j in judges([name]) if name != "fp8_e4m3fn" or j.library == "torch"]
    total = 0
    for x in strided_binary32(FAST_STRIDE):
        counts = [mismatches(judge, x) for judge in beside]
        assert all(wrong.size == 0 for _, wrong in counts)
        total += x.size
    assert total >= 1 << 24


@pytest.mark.slow
@pytest.mark.parametrize("judge", judges(), ids=str)
def test_more_than_2_to_the_24_strided_binary32_numbers_for_every_cast(judge):
    results = [mismatches(judge, x) for x in strided_binary32(FAST_STRIDE)]
    assert sum(wrong.size for _, wrong in results) == 0


def test_the_listed_policy_difference_is_the_only_one_for_e4m3():
    """torch 2.13 saturates what ml_dtypes makes NaN, above the tie at 464; both round that down."""
    x = np.array([448, 464, np.nextafter(np.float32(464), np.inf), 480, 1e30, np.inf], np.float32)
    torch_codes = cast_by_torch("fp8_e4m3fn")(x)
    numpy_codes = cast_by_numpy("fp8_e4m3fn")(x)
    assert torch_codes.tolist() == ([0x7E] * 6 if TORCH_SATURATES else numpy_codes.tolist())
    assert numpy_codes.tolist() == [0x7E, 0x7E, 0x7F, 0x7F, 0x7F, 0x7F]
    fmt = get_format("fp8_e4m3fn")
    assert fmt.overflow is Overflow.SATURATE
    assert round_to_codes(x, fmt).tolist() == [0x7E] * 6
    assert round_to_codes(x, fmt, overflow="nan").tolist() == numpy_codes.tolist()


def test_the_listed_e8m0_differences_exist():
    """Where a library changes, this fails, and the list in judges.py has to shrink."""
    x = np.array([1.25 * 2.0**-127, 0.0, -0.0, -1.0], np.float32)
    assert cast_by_torch("e8m0")(x).tolist() == [1, 0, 0, 127]
    assert cast_by_numpy("e8m0")(x).tolist() == [1, 255, 255, 255]
    assert round_to_codes(x, get_format("e8m0")).tolist() == [0, 0, 0, 255]


@pytest.mark.parametrize("name", CASTS_OF_NUMPY)
def test_values_middles_and_their_binary64_neighbours_by_brute_force(name):
    """The judge is a search in a table of values: casts from binary64 round twice in libraries."""
    fmt, values = get_format(name), extended_magnitudes(name)
    x = edges(values)
    x = x[np.isfinite(x)]
    index = nearest_index(np.abs(x), values)
    if name == "e8m0":
        x, index = x[x > 0], np.searchsorted(values, x[x > 0])
        index = np.clip(index, 1, len(values) - 1)
        x_is_lower = x < (values[index - 1] + values[index]) / 2
        index = np.where(x_is_lower, index - 1, index)
    is_beyond = index > fmt.max_finite_code
    negative = np.signbit(x) & ((index > 0) | fmt.has_negative_zero)
    expected = np.minimum(index, fmt.max_finite_code) + negative * fmt.n_magnitude_codes
    got = round_to_codes(x, fmt, overflow="saturate")
    assert is_beyond.any()
    assert (got == expected).all(), x[got != expected]


@pytest.mark.parametrize("name", [f.name for f in list_formats() if f.bits <= 16])
def test_scalars_round_as_arrays_do(name):
    fmt = get_format(name)
    x = edges(extended_magnitudes(name))
    x = x[~np.isnan(x)] if not fmt.has_nan else x
    x = x[:: max(1, x.size // 2000)]
    codes = round_to_codes(x, fmt)
    assert [round_to_code(float(v), fmt) for v in x] == codes.tolist()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Rounding.NEAREST_EVEN, gfloat.RoundMode.TiesToEven),
        (Rounding.NEAREST_AWAY, gfloat.RoundMode.TiesToAway),
        (Rounding.TOWARD_ZERO, gfloat.RoundMode.TowardZero),
        (Rounding.UP, gfloat.RoundMode.TowardPositive),
        (Rounding.DOWN, gfloat.RoundMode.TowardNegative),
    ],
)
@pytest.mark.parametrize("name", sorted(GFLOAT.keys() - {"e8m0"}))
def test_directed_modes_beside_gfloat(name, ours, theirs):
    fmt, values = get_format(name), finite_magnitudes(name)
    x = edges(values[:: max(1, len(values) // 4000)])
    x = x[np.abs(x) <= values[-1]]
    with np.errstate(all="ignore"):
        judged = gfloat.round_ndarray(GFLOAT[name], x, theirs, sat=True)
    assert (bits(round_array(x, fmt, ours, "saturate")) == bits(judged)).all()


@pytest.mark.parametrize("name", ["fp8_e4m3fn", "fp8_e5m2", "fp8_e3m4", "fp6_e3m2", "bf16"])
def test_rounding_to_odd_before_the_last_rounding_is_harmless(name):
    """Two more bits in an odd intermediate give what one rounding gives (Boldo, Melquiond 2008)."""
    fmt = get_format(name)
    wide = get_format(f"e11m{fmt.precision + 2}")
    x = edges(extended_magnitudes(name))
    x = x[np.isfinite(x)]
    odd = round_array(x, wide, "odd")
    assert (round_to_codes(odd, fmt) == round_to_codes(x, fmt)).all()
    assert (round_to_codes(round_array(x, wide), fmt) != round_to_codes(x, fmt)).any()


def test_binary64_rounds_once():
    """Through binary32 this number becomes a tie, and the answer 1.0, in torch and elsewhere."""
    x = 1 + 2**-11 + 2**-40
    assert round_scalar(x, get_format("fp16")) == 1 + 2**-10
    assert float(round_array(x, get_format("fp16"))) == 1 + 2**-10
    y = 1 + 2**-8 + 2**-40
    assert round_scalar(y, get_format("bf16")) == 1 + 2**-7
    assert float(round_array(y, get_format("bf16"))) == 1 + 2**-7


def test_rationals_round_once():
    half = get_format("fp16")
    tie = 1 + Fraction(1, 2**11)
    for tiny, expected in [(0, 1.0), (Fraction(1, 10**400), 1 + 2**-10)]:
        assert round_scalar(tie + tiny, half) == expected
    assert round_scalar(Fraction(1, 3), get_format("fp64")) == 1 / 3
    assert round_scalar(10**400, get_format("fp64")) == math.inf
    assert round_scalar(Fraction(1, 2**1075), get_format("fp64")) == 0.0
    assert round_scalar(Fraction(1, 2**1075) * Fraction(3, 2), get_format("fp64")) == 2.0**-1074
