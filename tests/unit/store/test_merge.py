"""Sums of floats round once, whatever comes on the way."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deephochuli.store import _merge
from deephochuli.store._merge import add_floats, add_histograms, add_lanes
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
# One histogram with many keys, or many with few: they are added in two ways.
groups_of_histograms = st.lists(histograms, min_size=1, max_size=6)


def bounds_of(groups):
    return np.cumsum([0, *map(len, groups)])


def ragged(lists, kind):
    return Ragged.of([None if row is None else np.array(row, kind) for row in lists], kind)


@given(
    groups_of_histograms,
    st.booleans(),
    st.sampled_from([np.int16, np.uint16]),
    st.sampled_from([1, 5, 1 << 17]),
)
def test_histograms_add_key_by_key(groups, is_dense, kind, at_once):
    def key(number):  # few different keys, or any
        return (number % 5 if is_dense else number) + (2**15 if kind is np.uint16 else 0)

    groups = [[h and {key(k): n for k, n in sorted(h.items())} for h in group] for group in groups]
    dicts = [h if h is None else dict(sorted(h.items())) for group in groups for h in group]
    keys = ragged([None if h is None else list(h) for h in dicts], kind)
    counts = ragged([None if h is None else list(h.values()) for h in dicts], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_merge, "_AT_ONCE", at_once)
        merged_keys, merged_counts = add_histograms(keys, counts, bounds_of(groups))
    assert merged_keys.values.dtype == kind
    for number, group in enumerate(groups):
        expected = Counter()
        for h in group:
            expected.update(h or {})
        if all(h is None for h in group):
            assert merged_keys[number] is None
            assert merged_counts[number] is None
        else:
            assert merged_keys[number].tolist() == sorted(expected)
            assert merged_counts[number].tolist() == [expected[k] for k in sorted(expected)]


def test_histograms_with_few_of_many_keys_are_sorted_and_others_are_not(monkeypatch):
    ways = []
    for name in ("_add_in_table", "_add_sorted"):
        way = getattr(_merge, name)
        monkeypatch.setattr(_merge, name, lambda *a, n=name, w=way: ways.append(n) or w(*a))
    for rows in ([[1, 2, 3], [2, 3, 4]], [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]):
        keys = ragged(rows, np.uint16)
        counts = Ragged(np.ones(len(keys.values), np.int64), keys.offsets, keys.present)
        merged, _ = add_histograms(keys, counts, np.arange(len(rows) + 1))
        assert [row.tolist() for row in merged.rows()] == rows
    assert ways == ["_add_in_table", "_add_sorted"]


def lists_of(*lengths):
    return [st.lists(st.integers(0, 99), min_size=n, max_size=n) for n in lengths]


lanes = st.sampled_from([(2,), (2,), (3,), (0,), (2, 3)]).flatmap(
    lambda lengths: st.lists(st.none() | st.one_of(lists_of(*lengths)), min_size=1, max_size=3)
)


@given(st.lists(lanes, min_size=1, max_size=6))
def test_channels_add_one_by_one(groups):
    merged = add_lanes(
        ragged([row for group in groups for row in group], np.int64), bounds_of(groups)
    )
    for number, group in enumerate(groups):
        given_ones = [row for row in group if row is not None]
        if len({len(row) for row in given_ones}) == 1:
            assert merged[number].tolist() == [sum(each) for each in zip(*given_ones, strict=True)]
        else:
            assert merged[number] is None


@given(
    st.lists(st.none() | st.lists(st.integers(-9, 9), max_size=4), max_size=8),
    st.randoms(use_true_random=False),
)
def test_ragged_rows_are_lists(lists, random):
    column = ragged(lists, np.int64)

    def plain(rows):
        return [None if row is None else row.tolist() for row in rows]

    assert plain(column.rows()) == lists
    assert column.totals().tolist() == [sum(x or []) for x in lists]
    order = list(range(len(lists)))
    random.shuffle(order)
    assert plain(column.take(np.array(order, np.int64)).rows()) == [lists[i] for i in order]
    middle = len(lists) // 2
    assert plain(column.slice(middle, len(lists)).rows()) == lists[middle:]
    chosen = np.array([i % 2 == 0 for i in range(len(lists))], np.bool_)
    assert plain(column.without(chosen).rows()) == [
        None if i % 2 == 0 else row for i, row in enumerate(lists)
    ]
    halves = [column.slice(0, middle), column.slice(middle, len(lists))]
    assert plain(Ragged.joined(halves, np.int64).rows()) == lists


def test_an_integer_too_large_for_its_column_is_not_cut_short():
    with pytest.raises(TypeError):
        Ragged.of([np.array([70_000])], np.uint16)
