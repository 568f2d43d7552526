"""Special values, overflow policies and random bits in scalar and array rounding."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from deephochuli.errors import FormatError, NotRepresentableError
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY64,
    E2M1,
    E4M3FN,
    E4M3FNUZ,
    E5M2,
    E8M0,
    Overflow,
    canonical_nan,
    decode,
    decode_array,
    encode,
    encode_array,
    get_format,
    round_array,
    round_scalar,
    round_to_code,
    round_to_codes,
)

FLUSHING = get_format("e5m10:no-subnormals")


def rounded(x, fmt, *how):
    """Scalar result as text (so that -0.0 and nan compare), after the array agreed with it."""
    scalar = round_scalar(x, fmt, *how)
    array = float(round_array([x], fmt, *how)[0])
    assert str(scalar) == str(array)
    return str(scalar)


@pytest.mark.parametrize(
    ("x", "mode", "expected"),
    [
        (2.5, "nearest-even", 2.0),
        (3.5, "nearest-even", 4.0),
        (2.5, "nearest-away", 3.0),
        (-2.5, "nearest-away", -3.0),
        (2.9, "toward-zero", 2.0),
        (-2.9, "toward-zero", -2.0),
        (2.1, "up", 3.0),
        (-2.9, "up", -2.0),
        (2.9, "down", 2.0),
        (-2.1, "down", -3.0),
        (2.1, "odd", 3.0),
        (3.9, "odd", 3.0),
        (2.0, "odd", 2.0),
    ],
)
def test_modes_on_integers(x, mode, expected):
    assert rounded(x, get_format("e4m1:saturate"), mode) == str(expected)


@pytest.mark.parametrize(
    ("fmt", "x", "policy", "expected"),
    [
        (BINARY16, 65519.999, "infinity", "65504.0"),
        (BINARY16, 65520.0, "infinity", "inf"),
        (BINARY16, -65520.0, "infinity", "-inf"),
        (BINARY16, 1e300, "saturate", "65504.0"),
        (BINARY16, -math.inf, "saturate", "-65504.0"),
        (BINARY16, 65520.0, "nan", "nan"),
        (BINARY16, math.inf, "nan", "inf"),
        (E4M3FN, 464.0, "nan", "448.0"),
        (E4M3FN, 465.0, "nan", "nan"),
        (E4M3FN, -465.0, None, "-448.0"),
        (E4M3FN, math.inf, "nan", "nan"),
        (E4M3FN, math.inf, None, "448.0"),
        (E4M3FNUZ, 248.0, None, "nan"),
        (E4M3FNUZ, 247.9, None, "240.0"),
        (E4M3FNUZ, -0.0, None, "0.0"),
        (E4M3FNUZ, -1e-9, None, "0.0"),
        (E5M2, -0.0, None, "-0.0"),
        (E5M2, -1e-9, None, "-0.0"),
        (E2M1, 7.0, None, "6.0"),
        (E2M1, -math.inf, None, "-6.0"),
        (E8M0, -1.0, None, "nan"),
        (E8M0, -math.inf, "saturate", "nan"),
        (E8M0, 0.0, None, str(2.0**-127)),
        (E8M0, -0.0, None, str(2.0**-127)),
        (E8M0, 1e-300, None, str(2.0**-127)),
        (E8M0, 1.5, None, "2.0"),
        (E8M0, 3.0, None, "4.0"),
        (E8M0, 1.49, None, "1.0"),
        (E8M0, 1e39, None, "nan"),
        (FLUSHING, 2.0**-15, None, "0.0"),
        (FLUSHING, math.nextafter(2.0**-15, 1), None, str(2.0**-14)),
        (BFLOAT16, math.nan, None, "nan"),
    ],
)
def test_special_values_and_policies(fmt, x, policy, expected):
    assert rounded(x, fmt, "nearest-even", policy) == expected


@pytest.mark.parametrize("policy", Overflow)
def test_rounding_toward_zero_never_overflows(policy):
    for mode in ("toward-zero", "odd", "down"):
        assert rounded(1e300, BINARY16, mode, policy) == "65504.0"
    assert rounded(-1e300, BINARY16, "up", policy) == "-65504.0"
    assert rounded(-70000.0, BINARY16, "toward-zero", policy) == "-65504.0"


def test_directed_overflow_follows_the_policy_in_its_own_direction():
    assert rounded(65505.0, BINARY16, "up") == "inf"
    assert rounded(-65505.0, BINARY16, "down") == "-inf"
    assert rounded(449.0, E4M3FN, "up", "nan") == "nan"


def test_flushed_numbers_stay_unequal_to_zero_when_rounded_to_odd():
    assert rounded(1e-9, FLUSHING, "odd") == str(2.0**-14)
    assert rounded(1e-9, FLUSHING, "up") == str(2.0**-14)
    assert rounded(1e-9, FLUSHING, "nearest-away") == "0.0"


@pytest.mark.parametrize("function", [round_scalar, round_array])
def test_a_format_without_nan_refuses_nan(function):
    with pytest.raises(NotRepresentableError, match="fp4_e2m1 has no NaN"):
        function(math.nan, E2M1)


@pytest.mark.parametrize("function", [round_scalar, round_array])
def test_a_policy_that_the_format_cannot_serve_is_refused(function):
    with pytest.raises(FormatError, match="use 'saturate' or 'nan'"):
        function(1.0, E4M3FN, overflow="infinity")
    with pytest.raises(FormatError, match=r"Unknown rounding 'nearest'\. Did you mean"):
        function(1.0, E4M3FN, "nearest")


def test_numpy_scalars_of_any_width_are_exact():
    x = np.longdouble(1) + np.longdouble(2.0) ** -11 + np.longdouble(2.0) ** -60
    assert round_scalar(x, BINARY16) == 1 + 2.0**-10
    assert round_scalar(np.float32(0.1), BINARY64) == float(np.float32(0.1))
    assert round_scalar(np.int64(2**62 + 1), BINARY64) == 2.0**62
    assert round_scalar(np.int8(-128), BINARY16) == -128.0


def test_random_bits_carry_into_the_result():
    x = 1 + 5 * 2.0**-14  # 5/16 of the gap above 1
    up = [
        round_scalar(x, BINARY16, "stochastic", random_bits=r, n_random_bits=4) > 1
        for r in range(16)
    ]
    assert up == [False] * 11 + [True] * 5


def test_a_generator_gives_the_exact_probability():
    """1/3 has no finite number of random bits; 6 000 draws give it within 5 deviations."""
    x = 1 + Fraction(1, 3) * Fraction(1, 2**10)
    generator = random.Random(7)
    n = 6_000
    ups = sum(round_scalar(x, BINARY16, "stochastic", generator=generator) > 1 for _ in range(n))
    assert abs(ups - n / 3) < 5 * math.sqrt(n * 2 / 9)


def test_stochastic_rounding_leaves_values_alone():
    for r in (0, 2**32 - 1):
        assert round_scalar(1.5, BINARY16, "stochastic", random_bits=r) == 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either random_bits"),
        ({"random_bits": 1, "generator": random.Random(0)}, "either random_bits"),
        ({"random_bits": 2**32}, "n_random_bits=32"),
        ({"random_bits": -1}, "outside"),
        ({"random_bits": 0, "n_random_bits": 0}, "n at least 1"),
    ],
)
def test_random_bits_must_be_given_once_and_in_range(options, words):
    with pytest.raises(FormatError, match=words):
        round_scalar(1.1, BINARY16, "stochastic", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "given: none"),
        ({"random_bits": [1]}, "given: 1 of int64"),
        ({"random_bits": [0.5, 0.5]}, "given: 2 of float64"),
        ({"random_bits": [0, 16], "n_random_bits": 4}, "0 to 2"),
        ({"random_bits": [0, -1]}, "0 to 2"),
        ({"random_bits": [0, 0], "n_random_bits": 63}, "must be 1 to 62"),
    ],
)
def test_random_bits_of_arrays_must_fit(options, words):
    with pytest.raises(FormatError, match=words):
        round_array([1.1, 2.2], BINARY16, "stochastic", **options)


def test_codes_have_a_range():
    with pytest.raises(FormatError, match="its codes are the integers 0 to 255"):
        decode(256, E5M2)
    with pytest.raises(FormatError, match="0 to 255; these reach from -1 to 256"):
        decode_array([-1, 256], E5M2)
    with pytest.raises(FormatError, match="must be integers, not float64"):
        decode_array([1.0], E5M2)


def test_encoding_does_not_round():
    with pytest.raises(NotRepresentableError, match=r"values are 0\.0999\d+ and 0\.1000\d+"):
        encode(0.1, BINARY16)
    with pytest.raises(NotRepresentableError, match=r"1 of 4 elements .* 0.1 at index \(1, 0\)"):
        encode_array([[1.0, 2.0], [0.1, math.nan]], BINARY16)
    assert encode_array([[1.0, -0.0]], BINARY16).tolist() == [[0x3C00, 0x8000]]
    with pytest.raises(NotRepresentableError):
        encode_array([-0.0], E4M3FNUZ)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("fp64", 0x7FF8 << 48),
        ("fp32", 0x7FC00000),
        ("fp16", 0x7E00),
        ("bf16", 0x7FC0),
        ("fp8_e4m3fn", 0x7F),
        ("fp8_e5m2", 0x7E),
        ("fp8_e4m3fnuz", 0x80),
        ("e8m0", 0xFF),
    ],
)
def test_canonical_nan(name, code):
    assert canonical_nan(get_format(name)) == code
    assert round_to_code(-math.nan, get_format(name)) == code


def test_arrays_keep_their_shape_and_their_input():
    x = np.array([[1.1, -2.2], [3.3, np.nan]])
    kept = x.copy()
    assert round_array(x.T, BINARY16).shape == (2, 2)
    assert round_array(x[:, ::2], BINARY16)[1, 0] == round_scalar(3.3, BINARY16)
    np.testing.assert_array_equal(x, kept)
    assert round_array(1.1, BINARY16).shape == ()
    assert round_to_codes([], BINARY16).shape == (0,)
    assert round_to_codes(x, E5M2).dtype == np.uint8
    assert round_to_codes(x, BINARY16).dtype == np.uint16


def test_chunks_join_without_a_seam():
    x = np.linspace(-3, 3, 100_001)
    whole = round_to_codes(x, BFLOAT16)
    parts = np.concatenate([round_to_codes(part, BFLOAT16) for part in np.array_split(x, 7)])
    assert (whole == parts).all()


def test_arrays_that_binary64_cannot_hold_are_refused():
    with pytest.raises(FormatError, match="which int64 is not"):
        round_array(np.array([2**60 + 1]), BINARY16)
    with pytest.raises(FormatError, match="use round_scalar"):
        round_array(np.array([1.0], np.longdouble), BINARY16)
    assert round_array(np.array([3], np.int32), E2M1)[0] == 3.0
