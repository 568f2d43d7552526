"""Thresholds of absorption beside sums that were really formed, in libraries and by brute force."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch

from deephochuli.formats import Rounding, get_format

from .brute_force import extended_magnitudes, finite_magnitudes, nearest_index, truncated_index

# At a = 1: what is absorbed above and below it, ties included. fp64 ... e5m2 as 2^n.
AT_ONE = {
    "fp64": (-53, -54),
    "fp32": (-24, -25),
    "tf32": (-11, -12),
    "fp16": (-11, -12),
    "bf16": (-8, -9),
    "fp8_e4m3fn": (-4, -5),
    "fp8_e5m2": (-3, -4),
}


@pytest.mark.parametrize(("name", "above", "below"), [(k, *v) for k, v in AT_ONE.items()])
def test_thresholds_at_one(name, above, below):
    fmt = get_format(name)
    for toward, exponent in [("away", above), ("zero", below)]:
        threshold = fmt.absorption_threshold(1.0, toward)
        assert threshold.value == Fraction(2) ** exponent
        assert threshold.inclusive
    negative = fmt.absorption_threshold(-1.0, "positive")
    assert negative.value == Fraction(2) ** below


@pytest.mark.parametrize("name", AT_ONE)
def test_the_tie_is_not_absorbed_by_an_odd_significand(name):
    fmt = get_format(name)
    odd = 1.0 + fmt.epsilon
    for toward in ("away", "zero"):
        threshold = fmt.absorption_threshold(odd, toward)
        assert threshold.value == Fraction(fmt.unit_roundoff)
        assert not threshold.inclusive


def test_the_number_to_report_for_binary32_is_no_power_of_ten():
    threshold = get_format("fp32").absorption_threshold(1.0)
    assert float(threshold) == 5.960464477539063e-08
    assert np.float32(1) + np.float32(5.960464477539063e-08) == 1
    assert np.float32(1) + np.nextafter(np.float32(5.960464477539063e-08), np.float32(1)) > 1


def thresholds(fmt, a, rounding):
    """Threshold values and their tie rules, for addends of either sign, one row an accumulator."""
    pairs = [
        [fmt.absorption_threshold(float(v), side, rounding) for side in ("positive", "negative")]
        for v in a
    ]
    return (
        np.array([[float(t) for t in pair] for pair in pairs]),
        np.array([[t.inclusive for t in pair] for pair in pairs]),
    )


def predicted(fmt, a, x, rounding=Rounding.NEAREST_EVEN):
    """Whether the thresholds say that each a absorbs each x."""
    value, inclusive = thresholds(fmt, a, rounding)
    side = np.signbit(x).astype(int)
    size, t, tie = np.abs(x), value[:, side], inclusive[:, side]
    return (size < t) | ((size == t) & tie)


def values_of(name):
    """All finite values but the zeros, both signs."""
    magnitudes = finite_magnitudes(name)[1:]
    return np.concatenate([magnitudes, -magnitudes])


@pytest.mark.parametrize(("name", "n_pairs"), [("fp8_e4m3fn", 63_504), ("fp8_e5m2", 60_516)])
@pytest.mark.parametrize("rounding", ["nearest-even", "toward-zero"])
def test_all_fp8_pairs(name, n_pairs, rounding):
    fmt, values = get_format(name), values_of(name)
    total = values[:, None] + values
    # Exact: the range of either format is less than the 53 binades that one sum may span.
    round_index = nearest_index if rounding == "nearest-even" else truncated_index
    table = extended_magnitudes(name)
    rounded = np.sign(total) * table[round_index(np.abs(total), table)]
    observed = rounded == values[:, None]
    assert observed.size == n_pairs
    assert (predicted(fmt, values, values, rounding) == observed).all()
    assert 0 < observed.sum() < n_pairs


@pytest.mark.parametrize("name", ["fp8_e4m3fn", "fp8_e5m2"])
def test_absorbs_agrees_with_the_thresholds_for_fp8_pairs(name):
    fmt, values = get_format(name), values_of(name)
    chosen = values[::7]
    table = predicted(fmt, chosen, values[::3])
    assert table.tolist() == [
        [fmt.absorbs(float(a), float(x)) for x in values[::3]] for a in chosen
    ]


def native_sum(name, a, x):
    """The sum that a processor or a library forms in the format itself."""
    if name == "bf16":
        # Formed in binary32 and rounded: harmless, since 24 >= 2 * 8 + 2 (Figueroa, 1995).
        left, right = torch.tensor(a, dtype=torch.bfloat16), torch.tensor(x, dtype=torch.bfloat16)
        return (left + right).double().numpy()
    dtype = {"fp16": np.float16, "fp32": np.float32, "fp64": np.float64}[name]
    with np.errstate(all="ignore"):
        return (np.asarray(a, dtype) + np.asarray(x, dtype)).astype(np.float64)


@pytest.mark.parametrize(("name", "pattern"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_random_16_bit_accumulators_with_all_addends(name, pattern):
    fmt = get_format(name)
    magnitudes = np.arange(1, fmt.max_finite_code + 1, dtype=np.uint16).view(pattern)
    addends = magnitudes.astype(np.float64)
    addends = np.concatenate([addends, -addends])
    rng = np.random.default_rng(1)
    chosen = rng.choice(addends, 100)
    one, odd = 1.0, 1.0 + fmt.epsilon
    special = [one, -one, odd, fmt.smallest_subnormal, fmt.smallest_normal, fmt.max_finite, 96.0]
    accumulators = np.concatenate([chosen, special])
    expected = predicted(fmt, accumulators, addends)
    n_absorbed = 0
    for a, row in zip(accumulators, expected, strict=True):
        observed = native_sum(name, a, addends) == a
        assert (observed == row).all(), a
        n_absorbed += observed.sum()
    assert n_absorbed > 1_000_000


@pytest.mark.parametrize("name", ["fp64", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("near", [1.0, 1.5, "odd", 0.1, 100.0, -2.0, 2.0**-10])
def test_ties_of_sums_formed_by_the_processor(name, near):
    fmt = get_format(name)
    a = 1.0 + fmt.epsilon if near == "odd" else native_sum(name, near, 0.0).item()
    for toward, sign in [("away", math.copysign(1, a)), ("zero", -math.copysign(1, a))]:
        threshold = fmt.absorption_threshold(a, toward)
        tie = float(threshold)
        above = fmt.next_up(tie)
        assert (native_sum(name, a, sign * tie) == a) == threshold.inclusive
        assert native_sum(name, a, sign * above) != a
        assert native_sum(name, a, sign * fmt.next_down(tie)) == a


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2"])
def test_subnormal_accumulators_absorb_no_value_of_their_format(name):
    fmt = get_format(name)
    for a in (fmt.smallest_subnormal, fmt.smallest_normal - fmt.smallest_subnormal):
        for toward in ("away", "zero"):
            assert fmt.smallest_subnormal not in fmt.absorption_threshold(a, toward)


def test_powers_of_two_from_both_sides():
    fmt = get_format("fp16")
    for e in range(fmt.emin + 1, fmt.emax + 1):
        a = 2.0**e
        assert fmt.absorption_threshold(a, "away").value == Fraction(fmt.ulp(a)) / 2
        assert fmt.absorption_threshold(a, "zero").value == Fraction(fmt.ulp(a)) / 4
    lowest = fmt.smallest_normal
    assert fmt.absorption_threshold(lowest, "zero").value == Fraction(fmt.ulp(lowest)) / 2


def test_truncation_absorbs_below_one_ulp_away_from_zero_and_nothing_toward_it():
    fmt = get_format("fp32")
    for a in (1.0, 1.0 + 2**-23, -3.0):
        away = fmt.absorption_threshold(a, "away", "toward-zero")
        assert (away.value, away.inclusive) == (Fraction(fmt.ulp(a)), False)
        assert fmt.absorption_threshold(a, "zero", "toward-zero").value == 0
        tiny = Fraction(1, 2**200)
        assert fmt.absorbs(a, math.copysign(1, a) * tiny, "toward-zero")
        assert not fmt.absorbs(a, -math.copysign(1, a) * 2.0**-200, "toward-zero")
