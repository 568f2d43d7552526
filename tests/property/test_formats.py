"""Laws that hold for every format, drawn at random."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from deephochuli.formats import (
    Overflow,
    Rounding,
    decode,
    encode,
    get_format,
    round_array,
    round_scalar,
    round_to_code,
    round_to_codes,
)

from .strategies import formats, formats_and_floats

DETERMINISTIC = [mode for mode in Rounding if mode is not Rounding.STOCHASTIC]
modes = st.sampled_from(DETERMINISTIC)


def bits(x):
    """Something that is equal for equal bits, NaN included."""
    return "nan" if math.isnan(x) else (x, math.copysign(1.0, x))


@given(formats_and_floats(), modes)
def test_rounding_is_idempotent(drawn, mode):
    fmt, x = drawn
    once = round_scalar(x, fmt, mode, "saturate")
    assert bits(round_scalar(once, fmt, mode, "saturate")) == bits(once)
    assert fmt.is_representable(once)


@given(formats_and_floats(n=2), modes)
def test_rounding_is_monotone(drawn, mode):
    fmt, x, y = drawn
    low, high = sorted((x, y))
    assert round_scalar(low, fmt, mode, "saturate") <= round_scalar(high, fmt, mode, "saturate")


@given(formats_and_floats())
def test_error_is_at_most_u_in_the_normal_range(drawn):
    fmt, x = drawn
    if fmt.smallest_normal <= abs(x) <= fmt.max_finite:
        error = abs(Fraction(x) - Fraction(round_scalar(x, fmt)))
        assert error <= Fraction(fmt.unit_roundoff) * abs(Fraction(x))


@given(formats_and_floats())
def test_error_is_at_most_half_an_ulp_below_overflow(drawn):
    fmt, x = drawn
    if abs(x) <= fmt.max_finite and fmt.has_zero:
        error = abs(Fraction(x) - Fraction(round_scalar(x, fmt)))
        assert error <= Fraction(fmt.ulp(x)) / 2


@given(formats_and_floats())
def test_up_and_down_bracket_the_number(drawn):
    fmt, x = drawn
    if fmt.is_signed and abs(x) <= fmt.max_finite:
        below, above = round_scalar(x, fmt, "down"), round_scalar(x, fmt, "up")
        assert below <= x <= above
        assert below == above == x or fmt.next_up(below) == above == fmt.next_up(x)
        zero = round_scalar(x, fmt, "toward-zero")
        assert zero == (below if x > 0 else above)


@given(formats_and_floats())
def test_nearest_modes_take_one_of_the_two_neighbours(drawn):
    fmt, x = drawn
    if fmt.is_signed and abs(x) <= fmt.max_finite:
        pair = {round_scalar(x, fmt, "down"), round_scalar(x, fmt, "up")}
        for mode in DETERMINISTIC:
            assert round_scalar(x, fmt, mode) in pair


@given(formats(max_bits=9), st.data())
def test_neighbours_are_consecutive(fmt, data):
    values = sorted({v for v in fmt.values() if not math.isnan(v)})
    i = data.draw(st.integers(0, len(values) - 2))
    assert fmt.next_up(values[i]) == values[i + 1]
    assert fmt.next_down(values[i + 1]) == values[i]
    middle = (Fraction(values[i]) + Fraction(values[i + 1])) / 2 if i and i < len(values) - 2 else 0
    if middle and not fmt.is_representable(middle):
        assert (fmt.next_down(middle), fmt.next_up(middle)) == (values[i], values[i + 1])


@given(formats(), st.data())
def test_decoding_and_encoding_are_inverse(fmt, data):
    code = data.draw(st.integers(0, fmt.n_codes - 1))
    value = decode(code, fmt)
    back = encode(value, fmt)
    if math.isnan(value):
        assert math.isnan(decode(back, fmt))
    elif fmt.has_subnormals or value:
        assert back == code
    else:
        assert decode(back, fmt) == 0


@given(formats(), st.integers(0, 2**64))
def test_magnitudes_grow_with_their_codes(fmt, seed):
    code = seed % fmt.max_finite_code
    low, high = decode(code, fmt), decode(code + 1, fmt)
    assert low < high or (low == high == 0 and not fmt.has_subnormals)


@given(formats_and_floats(n=8), st.sampled_from(list(Rounding)), st.sampled_from(list(Overflow)))
def test_arrays_round_as_scalars_do(drawn, mode, overflow):
    fmt, *xs = drawn
    allowed = {Overflow.INFINITY: fmt.has_infinities, Overflow.NAN: fmt.has_nan}
    if not allowed.get(overflow, True) or not (fmt.is_signed or fmt.has_nan):
        return
    xs += [0.0, -0.0, math.inf, -math.inf, 5e-324, -1.7e308]
    xs += [math.nan] if fmt.has_nan else []
    random_bits = [(i * 0x9E3779B1) % 2**20 for i in range(len(xs))]
    drawn_bits = random_bits if mode is Rounding.STOCHASTIC else None
    codes = round_to_codes(xs, fmt, mode, overflow, random_bits=drawn_bits, n_random_bits=20)
    for x, r, code in zip(xs, random_bits, codes, strict=True):
        one = r if mode is Rounding.STOCHASTIC else None
        expected = round_to_code(x, fmt, mode, overflow, random_bits=one, n_random_bits=20)
        assert code == expected, (x, hex(code), hex(expected))


@given(formats_and_floats())
def test_array_values_are_the_scalar_values(drawn):
    fmt, x = drawn
    if not fmt.is_signed and x < 0:
        return
    assert bits(float(round_array(x, fmt))) == bits(round_scalar(x, fmt))


@given(formats_and_floats(n=2), modes)
def test_absorption_threshold_says_what_absorbs_says(drawn, mode):
    fmt, a, x = drawn
    a = round_scalar(a, fmt, overflow="saturate")
    if not a or math.isnan(a):
        return
    toward = "positive" if x > 0 else "negative"
    threshold = fmt.absorption_threshold(a, toward, mode)
    # The drawn addend is rarely near the threshold: test that and what lies around it too.
    tiny = Fraction(1, 2**1200)
    sign = 1 if x > 0 else -1
    for size in {abs(Fraction(x)), threshold.value, threshold.value + tiny, threshold.value - tiny}:
        if size > 0 and abs(Fraction(a)) > size:
            assert fmt.absorbs(a, sign * size, mode) == (size in threshold)


@given(formats_and_floats(n=2))
def test_absorption_is_a_sum_that_rounds_back(drawn):
    fmt, a, x = drawn
    a = round_scalar(a, fmt, overflow="saturate")
    if not a or math.isnan(a) or abs(Fraction(a) + Fraction(x)) > Fraction(fmt.max_finite):
        return
    total = Fraction(a) + Fraction(x)
    if total != 0 and (fmt.has_zero or total >= Fraction(fmt.smallest_normal)):
        assert fmt.absorbs(a, x) == (round_scalar(total, fmt) == a and x != 0)


@given(formats_and_floats())
def test_range_thresholds_separate_the_outcomes(drawn):
    fmt, x = drawn
    x = abs(x)
    if fmt.has_zero:
        assert (round_scalar(x, fmt, overflow="saturate") == 0) == (x <= fmt.zero_threshold)
    if not fmt.has_infinities:
        return
    assert math.isinf(round_scalar(x, fmt, overflow="infinity")) == (x >= fmt.overflow_threshold)
    assert math.isinf(round_scalar(x, fmt, overflow="infinity")) == (x not in fmt.overflow_limit)


@given(formats_and_floats())
@example((get_format("fp16"), 1 + 5 * 2.0**-14))
@example((get_format("e5m10:no-subnormals"), 5 * 2.0**-18))
@example((get_format("e8m0"), 1.3125))
def test_stochastic_rounding_has_the_stated_probability(drawn):
    fmt, x = drawn[0], abs(drawn[1])
    if x > fmt.max_finite:
        return
    n = 4
    outcomes = [
        round_scalar(x, fmt, "stochastic", random_bits=r, n_random_bits=n) for r in range(2**n)
    ]
    below = round_scalar(x, fmt, "toward-zero")
    above = below if x <= below else fmt.next_up(below)
    width = Fraction(above) - Fraction(below)
    place = (Fraction(x) - Fraction(below)) / width if width else Fraction(0)
    assert set(outcomes) <= {below, above}
    assert sum(v == above != below for v in outcomes) == math.floor(place * 2**n)
    many = round_array(
        np.full(2**n, x), fmt, "stochastic", random_bits=np.arange(2**n), n_random_bits=n
    )
    assert many.tolist() == outcomes
