import math
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from deephochuli.formats import define_format, round_scalar
from deephochuli.sketch import Sketch, merge_sketches

ANY = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
LISTS = st.lists(ANY, max_size=30)


def sketch_of(values):
    return Sketch.of(torch.tensor(values, dtype=torch.float64))


@given(LISTS, LISTS, LISTS)
def test_merging_is_associative_and_commutative_to_the_bit(a, b, c):
    a, b, c = map(sketch_of, (a, b, c))
    left, right = (a + b) + c, a + (b + c)
    for other in (
        right,
        c + (b + a),
        merge_sketches([b, c, a]),
        a.merge(c, b),
        left + Sketch.empty(),
    ):
        assert left == other
        assert left.exact_sum == other.exact_sum
        assert left.exact_sum_sq == other.exact_sum_sq


@given(LISTS, LISTS)
def test_a_merge_counts_like_the_whole(a, b):
    whole, merged = sketch_of(a + b), sketch_of(a) + sketch_of(b)
    assert np.array_equal(whole.keys, merged.keys)
    assert np.array_equal(whole.counts, merged.counts)
    np.testing.assert_equal((whole.min_abs, whole.max_abs), (merged.min_abs, merged.max_abs))


@st.composite
def formats(draw):
    """Formats of the user's: any widths and any bias that fit into binary64, exponents go on."""
    exponent_bits, precision = draw(st.integers(1, 7)), draw(st.integers(1, 12))
    bias = draw(st.integers(-20, 150))
    subnormals = draw(st.booleans()) if precision > 1 else False
    return define_format(
        exponent_bits=exponent_bits + 1,
        precision=precision,
        bias=bias,
        n_high_nans=draw(st.integers(0, 1)),
        has_infinities=True,
        has_subnormals=subnormals,
    )


def numbers(fmt):
    """Numbers around the thresholds of a format, and at them."""
    places = [fmt.max_finite, fmt.smallest_normal, fmt.smallest_subnormal, 1.0]
    near = st.tuples(st.sampled_from(places), st.floats(0.2, 3.0), st.sampled_from([1, -1]))
    at = st.tuples(
        st.sampled_from([*places, float(fmt.overflow_limit.value)]),
        st.sampled_from([0.25, 0.5, 0.5 + 2.0**-52, 1.0, 1 - 2.0**-53, 1.5]),
        st.sampled_from([1, -1]),
    )
    return st.lists(st.one_of(near, at).map(math.prod), max_size=25)


@given(st.data())
def test_answers_contain_the_truth_for_any_format_and_scale(data):
    fmt = data.draw(formats())
    exponent = data.draw(st.integers(-40, 40))
    factor = data.draw(st.sampled_from([1.0, 1.0, 1.25, 3.0, 0.7]))
    scale = math.ldexp(factor, exponent)
    values = [math.ldexp(x, -exponent) for x in data.draw(numbers(fmt))]
    answer = sketch_of(values).ask(fmt, scale=scale)
    wide = define_format(
        exponent_bits=fmt.exponent_bits + 1,
        precision=fmt.precision,
        bias=fmt.bias,
        has_subnormals=fmt.has_subnormals,
    )
    rounded = [abs(round_scalar(Fraction(x) * Fraction(scale), wide)) for x in values if x]
    truth = (
        sum(r == 0 for r in rounded),
        sum(0 < r < fmt.smallest_normal for r in rounded),
        sum(r > fmt.max_finite for r in rounded),
    )
    shares = (answer.to_zero, answer.subnormal, answer.out_of_range)
    for share, count in zip(shares, truth, strict=True):
        assert share.low <= count <= share.high
    if factor == 1.0:  # a power of two is an edge of a key
        assert answer.to_zero.is_exact
        if fmt.precision <= 3:
            assert answer.subnormal.is_exact
            assert answer.out_of_range.is_exact


@given(LISTS)
def test_relu_counts_like_relu(values):
    x = torch.tensor(values, dtype=torch.float64)
    derived, true = Sketch.of(x).relu(), Sketch.of(torch.relu(x) + 0.0)  # no -0
    assert np.array_equal(derived.keys, true.keys)
    assert np.array_equal(derived.counts, true.counts)
    if true.max_abs > 0:
        assert derived.max_abs >= true.max_abs
        assert derived.min_abs <= true.min_abs
