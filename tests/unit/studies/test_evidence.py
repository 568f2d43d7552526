"""Intervals and fits of studies, against direct formulas and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from deephochuli.analysis.swamping import Estimate
from deephochuli.studies._evidence import (
    count_ratio,
    exponent_of,
    mean_of,
    number,
    rms_ratio,
    share_of,
    told,
)


def test_a_mean_has_student_s_interval():
    values = np.random.default_rng(1).standard_normal(9).tolist()
    found = mean_of(values)
    low, high = stats.t.interval(0.95, 8, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    assert math.isnan(mean_of([1.0]).low)
    assert math.isnan(mean_of([]).value)


def test_a_ratio_of_rms_covers_the_truth():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        a, b = 3 * rng.standard_normal((20, 30)), rng.standard_normal((20, 30))
        found = rms_ratio((a * a).sum(1), (b * b).sum(1))
        hits += found.low <= 3 <= found.high
    assert 0.92 < hits / 400 < 0.98
    assert math.isnan(rms_ratio([4.0], [1.0]).low)


def test_an_exponent_is_that_of_the_fitted_line():
    rng = np.random.default_rng(3)
    x = np.arange(1, 12.0)
    y = x**1.3 * np.exp(0.1 * rng.standard_normal(11))
    assert exponent_of(x, y) == pytest.approx(stats.linregress(np.log(x), np.log(y)).slope)


@pytest.mark.parametrize(("part", "whole"), [(0, 30), (3, 30), (500, 1000)])
def test_a_share_has_wilson_s_interval(part, whole):
    found = share_of(part, whole)
    right = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((right.low, right.high), abs=1e-6)
    assert math.isnan(share_of(0, 0).value)


@pytest.mark.parametrize("count", [5, 100, 5000])
def test_a_count_has_the_interval_of_poisson(count):
    found = count_ratio(count, 1.0)
    low, high = stats.chi2.ppf(0.025, 2 * count) / 2, stats.chi2.ppf(0.975, 2 * count + 2) / 2
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.01)


def test_numbers_are_readable():
    assert number(0.0) == "0"
    assert told(Estimate(1102.3, 1093.1, 1111.1)) == "1102 [1093, 1111]"
