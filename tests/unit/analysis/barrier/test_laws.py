"""Laws near zero, against exact sums and enumeration."""

import itertools
import math
import sys
from fractions import Fraction

import numpy as np
import pytest

from deephochuli.analysis.barrier import _laws as laws
from deephochuli.errors import MissingExtraError


def poisson_from(count, mean):
    return 1 - sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count))


def test_poisson_tails_are_sums_of_probabilities():
    for count, mean in [(0, 2.0), (3, 2.0), (9, 4.5), (1, 0.01)]:
        assert laws.poisson_upper(count, mean) == pytest.approx(poisson_from(count, mean))
        lower, upper = 1 - poisson_from(count + 1, mean), poisson_from(count, mean)
        assert laws.poisson_two_sided(count, mean) == pytest.approx(min(1, 2 * min(lower, upper)))
    assert laws.poisson_upper(1, 0.0) == 0
    assert laws.poisson_two_sided(0, 0.0) == 1 > laws.poisson_two_sided(2, 0.0) == 0


def test_trailing_zeros_add_up_to_a_negative_binomial():
    for total, n in [(1, 1), (5, 2), (12, 4), (40, 7)]:
        below = sum(
            Fraction(math.comb(k + n - 1, k)) * Fraction(1, 2) ** (n + k) for k in range(total)
        )
        assert laws.trailing_upper(total, n) == pytest.approx(float(1 - below), rel=1e-9)


def test_bounds_of_the_density_have_the_tails_that_they_should():
    found = laws.density(7, 1000, 0.25, 0.9)
    scale = 2 * 0.25 * 1000
    assert found.value == pytest.approx(7 / scale)
    assert poisson_from(7, found.low * scale) == pytest.approx(0.05)
    assert 1 - poisson_from(8, found.high * scale) == pytest.approx(0.05)
    assert laws.density(0, 10, 1.0, 0.9).low == 0
    assert math.isnan(laws.density(0, 0, 1.0, 0.9).value)
    wider = laws.density(70, 1000, 0.25, 0.9, spread=4.0)
    narrow = laws.density(70, 1000, 0.25, 0.9)
    ratio = (wider.high - wider.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(2, rel=0.05)


def test_cutoff_is_the_exponential_law():
    found = laws.cutoff(100, 0.5, 0.9)
    assert found.value == pytest.approx(0.01)
    assert laws.cutoff_p(100, 0.5, found.low) == pytest.approx(0.95)
    assert laws.cutoff_p(100, 0.5, found.high) == pytest.approx(0.05)
    assert laws.cutoff(0, 0.5).value == math.inf


def test_distinct_values_by_enumeration():
    cells, n = 4, 3
    drawn = [len(set(each)) for each in itertools.product(range(cells), repeat=n)]
    mean, p = laws.distinct_p(2, np.array([n]), cells)
    assert mean == pytest.approx(np.mean(drawn))
    z = (2.5 - np.mean(drawn)) / np.std(drawn)
    assert p == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))))
    assert laws.distinct_p(1, np.array([1]), 4)[1] == 1.0


def test_bins_are_compared_with_halving_counts():
    from scipy.stats import chisquare

    counts = np.array([515, 240, 130, 60, 35, 10, 6, 4])
    expected = 1000 * np.append(0.5 ** np.arange(1, 8), 0.5**7)
    seen = np.append(counts[:7], counts[7:].sum())
    assert laws.bins_p(counts) == pytest.approx(chisquare(seen, expected).pvalue)
    assert math.isnan(laws.bins_p(np.array([3, 1])))
    assert laws.bins_p(np.array([250, 500, 250])) < 1e-9


def test_names_the_extra_when_scipy_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'deephochuli\[studies\]'"):
        laws.poisson_upper(3, 1.0)
