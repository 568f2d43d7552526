"""Sums of floats round once, whatever comes on the way."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deephochuli.store._merge import add_floats, add_histograms
from deephochuli.store._ragged import Ragged


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_a_sum_is_the_exact_one_rounded(values):
    exact = sum(map(Fraction, values), Fraction(0))
    try:
        expected = float(exact)
    except OverflowError:
        expected = math.inf if exact > 0 else -math.inf
    assert add_floats(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e308, 1e308, -1e308], 1e308),
        ([1e308, 1e308], math.inf),
        ([-1e308] * 3, -math.inf),
        ([1e308, 1e308, -math.inf], -math.inf),
        ([2.0**53, 1.0, 1.0], 2.0**53 + 2),
        ([], 0.0),
    ],
)
def test_sums_at_the_end_of_the_range(values, expected):
    assert add_floats(values) == expected


@pytest.mark.parametrize("values", [[math.inf, -math.inf], [1.0, math.nan]])
def test_a_sum_that_is_nan(values):
    assert math.isnan(add_floats(values))


histograms = st.lists(
    st.none()
    | st.dictionaries(st.integers(-(2**15), 2**15 - 1), st.integers(1, 2**55), max_size=8),
    min_size=1,
    max_size=6,
)


@given(histograms, st.sampled_from([np.int16, np.uint16]))
def test_histograms_add_key_by_key(given_ones, kind):
    shift = 2**15 if kind is np.uint16 else 0
    dicts = [h and {key + shift: n for key, n in sorted(h.items())} for h in given_ones]
    keys = Ragged.of([None if h is None else np.array(list(h), kind) for h in dicts], kind)
    counts = Ragged.of(
        [None if h is None else np.array(list(h.values()), np.int64) for h in dicts], np.int64
    )
    expected: dict[int, int] = {}
    for h in dicts:
        for key, n in (h or {}).items():
            expected[key] = expected.get(key, 0) + n
    merged = add_histograms(keys, counts, np.full(1 << 16, 99))
    if all(h is None for h in dicts):
        assert merged is None
    else:
        assert merged[0].dtype == kind
        assert merged[0].tolist() == sorted(expected)
        assert merged[1].tolist() == [expected[key] for key in sorted(expected)]


@given(
    st.lists(st.none() | st.lists(st.integers(-9, 9), max_size=4), max_size=8),
    st.randoms(use_true_random=False),
)
def test_ragged_rows_are_lists(lists, random):
    ragged = Ragged.of([None if x is None else np.array(x, np.int64) for x in lists], np.int64)

    def plain(rows):
        return [None if row is None else row.tolist() for row in rows]

    assert plain(ragged.rows()) == lists
    assert ragged.totals().tolist() == [sum(x or []) for x in lists]
    order = list(range(len(lists)))
    random.shuffle(order)
    assert plain(ragged.take(np.array(order, np.int64)).rows()) == [lists[i] for i in order]
    middle = len(lists) // 2
    assert plain(ragged.slice(middle, len(lists)).rows()) == lists[middle:]
    halves = [ragged.slice(0, middle), ragged.slice(middle, len(lists))]
    assert plain(Ragged.joined(halves, np.int64).rows()) == lists


def test_an_integer_too_large_for_its_column_is_not_cut_short():
    with pytest.raises(TypeError):
        Ragged.of([np.array([70_000])], np.uint16)
