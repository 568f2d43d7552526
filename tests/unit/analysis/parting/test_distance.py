"""Distances of histograms against brute force, and chance against scipy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstwobign

from deephochuli.analysis.parting import chance_of_sampling, distances
from deephochuli.analysis.parting._distance import CHANCE, ranks_of
from deephochuli.kernels import key_of
from deephochuli.store import Ragged

# Each is the edge of a key, so that the histogram tells all of it.
EDGES = st.sampled_from([s * m * 2.0**e for s in (-1, 1) for m in (1, 1.25, 1.5) for e in (-3, 0)])
VALUES = st.lists(EDGES | st.just(0.0), min_size=1, max_size=12)


def histograms(*samples):
    """Keys and counts, as a run has them."""
    pairs = [np.unique([key_of(v) for v in s], return_counts=True) for s in samples]
    keys = Ragged.of([k.astype(np.uint16) for k, _ in pairs], np.uint16)
    return keys, Ragged.of([c.astype(np.int64) for _, c in pairs], np.int64)


def brute_force(one, other):
    def share(sample, x):
        return Fraction(sum(v <= x for v in sample), len(sample))

    return max(abs(share(one, x) - share(other, x)) for x in (*one, *other))


FIRST = np.array([0])


@given(VALUES, VALUES)
def test_a_distance_is_that_of_the_values(one, other):
    (found,) = distances(histograms(one), FIRST, histograms(other), FIRST)
    assert found == pytest.approx(float(brute_force(one, other)), abs=2**-50)


def test_a_distance_is_that_of_scipy():
    one, other = [-3.0, 0.0, 1.0, 1.25, 2.5], [-3.0, -3.0, 1.25, 1.5]
    (found,) = distances(histograms(one), FIRST, histograms(other), FIRST)
    assert found == pytest.approx(ks_2samp(one, other).statistic, abs=1e-12)


def test_signed_zeros_are_one_number_and_nan_is_the_last():
    assert distances(histograms([0.0, 1.0]), FIRST, histograms([-0.0, 1.0]), FIRST)[0] == 0
    with_nan = histograms([1.0, float("nan")])
    assert distances(with_nan, FIRST, histograms([1.0, 1.0]), FIRST)[0] == 0.5
    assert distances(with_nan, FIRST, histograms([1.0, float("inf")]), FIRST)[0] == 0.5


def test_rows_are_paired_as_asked_also_in_several_blocks(monkeypatch):
    samples = [[1.0], [1.0, 1.5], [1.5], [-1.0]]
    all_of = histograms(*samples)
    rows, others = np.array([0, 1, 3, 2]), np.array([1, 0, 0, 2])
    expected = [
        float(brute_force(samples[i], samples[j])) for i, j in ((0, 1), (1, 0), (3, 0), (2, 2))
    ]
    assert distances(all_of, rows, all_of, others).tolist() == expected
    monkeypatch.setattr("deephochuli.analysis.parting._distance._CELLS_AT_ONCE", 1)
    assert distances(all_of, rows, all_of, others).tolist() == expected


def test_an_empty_histogram_is_as_far_as_can_be():
    keys, counts = histograms([1.0])
    nothing = Ragged.of([np.zeros(0, np.uint16)], np.uint16), Ragged.of([np.zeros(0, int)], int)
    assert distances((keys, counts), FIRST, nothing, FIRST)[0] == 1
    assert distances(nothing, FIRST, nothing, FIRST)[0] == 0


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=2))
def test_ranks_keep_the_order_of_numbers(pair):
    low, high = sorted(pair)
    ranks = ranks_of(np.array([key_of(low), key_of(high)], np.uint16))
    assert ranks[0] <= ranks[1]


@pytest.mark.parametrize(("n", "m"), [(500, 500), (100, 4000), (10**6, 10**5)])
def test_chance_is_that_of_the_limiting_distribution(n, m):
    distance = float(chance_of_sampling(np.array([n]), np.array([m]))[0])
    exceeded = kstwobign.sf(distance * np.sqrt(n * m / (n + m)))
    assert exceeded == pytest.approx(CHANCE, rel=1e-6)


def test_chance_is_never_above_one():
    assert chance_of_sampling(np.array([1, 0]), np.array([1, 5])).tolist() == [1.0, 1.0]
