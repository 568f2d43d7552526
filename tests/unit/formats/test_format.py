"""Derived quantities against published tables, and what a format refuses to be."""

import dataclasses
import math
from fractions import Fraction

import pytest

from deephochuli.errors import FormatError, NotRepresentableError
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E2M1,
    E2M3,
    E3M2,
    E3M4,
    E4M3FN,
    E4M3FNUZ,
    E5M2,
    E5M2FNUZ,
    E8M0,
    TF32,
    Format,
    Overflow,
    Threshold,
    define_format,
    get_format,
)

# bits, p, emin, emax, smallest subnormal, smallest normal, max finite. IEEE 754-2019, table 3.5;
# OCP OFP8 (2023), table 1; OCP MX (2023), section 5.3; for fnuz Noune et al. (2022), for TF32 and
# bfloat16 their makers' descriptions.
PUBLISHED = {
    BINARY64: (64, 53, -1022, 1023, 2.0**-1074, 2.0**-1022, 1.7976931348623157e308),
    BINARY32: (32, 24, -126, 127, 2.0**-149, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    TF32: (19, 11, -126, 127, 2.0**-136, 2.0**-126, (2 - 2.0**-10) * 2.0**127),
    BFLOAT16: (16, 8, -126, 127, 2.0**-133, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    BINARY16: (16, 11, -14, 15, 2.0**-24, 2.0**-14, 65504.0),
    E4M3FN: (8, 4, -6, 8, 2.0**-9, 2.0**-6, 448.0),
    E5M2: (8, 3, -14, 15, 2.0**-16, 2.0**-14, 57344.0),
    E4M3FNUZ: (8, 4, -7, 7, 2.0**-10, 2.0**-7, 240.0),
    E5M2FNUZ: (8, 3, -15, 15, 2.0**-17, 2.0**-15, 57344.0),
    E3M4: (8, 5, -2, 3, 2.0**-6, 2.0**-2, 15.5),
    E2M3: (6, 4, 0, 2, 0.125, 1.0, 7.5),
    E3M2: (6, 3, -2, 4, 0.0625, 0.25, 28.0),
    E2M1: (4, 2, 0, 2, 0.5, 1.0, 6.0),
    E8M0: (8, 1, -127, 127, 2.0**-127, 2.0**-127, 2.0**127),
}


@pytest.mark.parametrize("fmt", PUBLISHED, ids=str)
def test_published_values(fmt):
    assert PUBLISHED[fmt] == (
        fmt.bits,
        fmt.p,
        fmt.emin,
        fmt.emax,
        fmt.smallest_subnormal,
        fmt.smallest_normal,
        fmt.max_finite,
    )
    assert fmt.unit_roundoff == 2.0**-fmt.p
    assert fmt.epsilon == fmt.eps == 2 * fmt.unit_roundoff
    assert (fmt.max, fmt.tiny) == (fmt.max_finite, fmt.smallest_normal)
    assert fmt.n_codes == 2**fmt.bits


@pytest.mark.parametrize(
    ("fmt", "underflow", "overflow", "tie_stays"),
    [
        (BINARY64, 0.0, math.inf, False),
        (BINARY32, 2.0**-150, (2 - 2.0**-24) * 2.0**127, False),
        (BINARY16, 2.0**-25, 65520.0, False),
        (BFLOAT16, 2.0**-134, (2 - 2.0**-8) * 2.0**127, False),
        (E4M3FN, 2.0**-10, math.nextafter(464.0, math.inf), True),
        (E5M2, 2.0**-17, 61440.0, False),
        (E4M3FNUZ, 2.0**-11, 248.0, False),
        (E2M1, 0.25, 7.0, False),
        (E8M0, 0.0, 1.5 * 2.0**127, False),
    ],
    ids=str,
)
def test_where_rounding_leaves_the_range(fmt, underflow, overflow, tie_stays):
    assert fmt.zero_threshold == underflow
    assert fmt.overflow_threshold == overflow
    assert fmt.overflow_limit.inclusive is tie_stays


def test_binary64_limits_are_exact_where_floats_end():
    assert BINARY64.overflow_limit == Threshold(Fraction(2) ** 1024 - Fraction(2) ** 970, False)


def test_dynamic_range_counts_binades():
    assert BINARY16.dynamic_range == 40
    assert E4M3FN.dynamic_range == 18
    assert E5M2.dynamic_range == 32


@pytest.mark.parametrize(
    ("x", "ulp"),
    [
        (1.0, 2.0**-10),
        (1.999, 2.0**-10),
        (0.999, 2.0**-11),
        (-1.0, 2.0**-10),
        (0.0, 2.0**-24),
        (2.0**-24, 2.0**-24),
        (1e-30, 2.0**-24),
        (65504.0, 32.0),
        (1e9, 32.0),
    ],
)
def test_ulp_of_binary16(x, ulp):
    assert BINARY16.ulp(x) == ulp


def test_ulp_of_what_is_not_finite_is_nan():
    assert math.isnan(BINARY16.ulp(math.inf))
    assert math.isnan(BINARY16.ulp(math.nan))


@pytest.mark.parametrize(
    ("fmt", "x", "up", "down"),
    [
        (BINARY16, 1.0, 1 + 2.0**-10, 1 - 2.0**-11),
        (BINARY16, 65504.0, math.inf, 65472.0),
        (BINARY16, math.inf, math.inf, 65504.0),
        (BINARY16, -math.inf, -65504.0, -math.inf),
        (BINARY16, 1e9, math.inf, 65504.0),
        (E4M3FN, 448.0, math.nan, 416.0),
        (E4M3FN, 0.0, 2.0**-9, -(2.0**-9)),
        (E8M0, 2.0**-127, 2.0**-126, math.nan),
        (E8M0, 0.0, 2.0**-127, math.nan),
        (E8M0, -1.0, 2.0**-127, math.nan),
        (E8M0, 3.0, 4.0, 2.0),
        (get_format("e5m10:no-subnormals"), 0.0, 2.0**-14, -(2.0**-14)),
        (get_format("e5m10:no-subnormals"), 2.0**-14, 2.0**-14 + 2.0**-24, 0.0),
        (BINARY64, 1.0, math.nextafter(1, 2), math.nextafter(1, 0)),
    ],
)
def test_neighbours(fmt, x, up, down):
    assert str(fmt.next_up(x)) == str(up)
    assert str(fmt.next_down(x)) == str(down)


def test_zero_reached_from_below_keeps_its_sign_where_there_is_one():
    assert math.copysign(1, BINARY16.next_up(-(2.0**-24))) == -1
    assert math.copysign(1, E4M3FNUZ.next_up(-(2.0**-10))) == 1


@pytest.mark.parametrize(
    ("fmt", "members", "strangers"),
    [
        (BINARY16, [1.0, -0.0, math.inf, math.nan, 65504], [1 + 2.0**-11, 65536.0, Fraction(1, 3)]),
        (E4M3FN, [448, -0.0, math.nan], [math.inf, 480.0]),
        (E4M3FNUZ, [0.0, math.nan], [-0.0, math.inf]),
        (E2M1, [6.0, -0.0], [math.nan, 5.0]),
        (E8M0, [1.0, 2.0**127, math.nan], [0.0, -0.0, -1.0, 3.0]),
        (BINARY64, [5e-324, 0.1], [Fraction(1, 10), 2**2000]),
    ],
    ids=str,
)
def test_membership(fmt, members, strangers):
    assert all(fmt.is_representable(x) for x in members)
    assert not any(fmt.is_representable(x) for x in strangers)


def test_a_format_is_frozen_data():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BINARY16.bias = 3
    assert dataclasses.replace(BINARY16) == BINARY16
    assert len({BINARY16, dataclasses.replace(BINARY16), E5M2}) == 2
    assert not hasattr(BINARY16, "__dict__")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": 0}, "precision=0"),
        ({"precision": 54}, "precision=54"),
        ({"exponent_bits": 0}, "exponent_bits=0"),
        ({"exponent_bits": 12}, "exponent_bits=12"),
        ({"n_high_nans": -1}, "n_high_nans=-1"),
        ({"n_high_nans": 10**9}, "n_high_nans=1000000000"),
        ({"n_high_nans": 31 * 2**10}, "no normal number"),
        ({"has_infinities": False}, "overflow='infinity' needs infinities"),
        ({"overflow": "nan", "n_high_nans": 0}, "needs a NaN code"),
        ({"overflow": "wrap"}, "Unknown overflow 'wrap'"),
        ({"has_zero": False}, "has_zero=False needs is_signed=False"),
        ({"has_zero": False, "is_signed": False}, "needs has_subnormals=False"),
        ({"bias": 2000}, "smallest gap"),
        ({"bias": -2000}, "largest value"),
        ({"name": ""}, "name"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(FormatError, match=words.replace("(", r"\(")):
        dataclasses.replace(BINARY16, **changes)


def test_an_overflow_policy_can_be_given_by_name():
    fmt = define_format("mine", exponent_bits=5, precision=4, overflow="saturate")
    assert fmt.overflow is Overflow.SATURATE
    assert isinstance(fmt, Format)


@pytest.mark.parametrize("toward", ["up", ""])
def test_a_direction_must_be_known(toward):
    with pytest.raises(FormatError, match="is not a direction; use one of away, zero"):
        BINARY16.absorption_threshold(1.0, toward)


def test_what_absorption_is_not_defined_for():
    with pytest.raises(FormatError, match="zero_threshold"):
        BINARY16.absorption_threshold(0.0)
    with pytest.raises(NotRepresentableError, match=r"round_scalar\(a, 'fp16'\)"):
        BINARY16.absorption_threshold(0.1)
    with pytest.raises(NotRepresentableError):
        BINARY16.absorption_threshold(math.inf)
    with pytest.raises(FormatError, match="with probability"):
        BINARY16.absorbs(1.0, 2.0**-20, "stochastic")


@pytest.mark.parametrize(
    ("rounding", "sign", "away", "toward_zero"),
    [
        ("nearest-even", 1, (0.5, True), (0.25, True)),
        ("nearest-away", 1, (0.5, False), (0.25, True)),
        ("toward-zero", 1, (1, False), (0, False)),
        ("up", 1, (0, False), (0.5, False)),
        ("up", -1, (1, False), (0, False)),
        ("down", 1, (1, False), (0, False)),
        ("down", -1, (0, False), (0.5, False)),
        ("odd", 1, (0, False), (0, False)),
    ],
)
def test_thresholds_at_one_in_every_mode_in_units_of_the_ulp(rounding, sign, away, toward_zero):
    for toward, (ulps, inclusive) in {"away": away, "zero": toward_zero}.items():
        threshold = BINARY16.absorption_threshold(float(sign), toward, rounding)
        assert threshold.value == Fraction(ulps) * Fraction(BINARY16.ulp(1.0))
        assert threshold.inclusive is inclusive


def test_saturation_is_not_absorption():
    assert not E4M3FN.absorbs(448.0, 448.0)
    assert E4M3FN.absorbs(448.0, 16.0)


def test_nothing_and_nan_are_not_absorbed():
    assert not BINARY16.absorbs(1.0, 0.0)
    assert not BINARY16.absorbs(1.0, math.nan)
    assert not BINARY16.absorbs(1.0, math.inf)
    assert not BINARY16.absorbs(1.0, -1.0)


def test_a_threshold_sorts_numbers_by_magnitude():
    closed, open_ = Threshold(Fraction(1, 2), True), Threshold(Fraction(1, 2), False)
    assert 0.5 in closed
    assert -0.5 in closed
    assert 0.5 not in open_
    assert 0.25 in open_
    assert math.inf not in closed
    assert math.nan not in closed
