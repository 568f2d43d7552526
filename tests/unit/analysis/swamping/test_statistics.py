"""Intervals cover, and the predicted growth is the measured one."""

import math

import numpy as np
import pytest

from deephochuli.analysis.swamping import predicted_shares, ratio
from deephochuli.formats import BFLOAT16, BINARY16
from deephochuli.kernels.addends import Addends


def test_an_interval_covers_the_ratio_of_the_population():
    """Additions of one output are alike: an interval that took them for independent would fail."""
    random = np.random.default_rng(1)
    whole = random.integers(50, 200, 5000)
    rates = random.beta(1.0, 6.0, 5000)
    part = random.binomial(whole, rates)
    true, repeats = part.sum() / whole.sum(), 2000
    covered = naive = 0
    for _ in range(repeats):
        index = random.choice(5000, 200, replace=False)
        found = ratio(part[index], whole[index], 5000, 0.95)
        covered += found.low <= true <= found.high
        error = 1.96 * math.sqrt(found.value * (1 - found.value) / whole[index].sum())
        naive += abs(found.value - true) <= error
    assert 0.93 <= covered / repeats <= 0.97
    assert naive / repeats < 0.5


def test_an_interval_of_nothing_seen_covers_rare_outputs():
    """1 % of outputs lose everything: none of 200 sampled shows it in 13 % of samples."""
    found = ratio(np.zeros(200), np.full(200, 10), 10_000, 0.95)
    assert found.value == found.low == 0
    assert found.high == pytest.approx(0.0149, abs=1e-4)
    assert ratio([0, 0], [5, 5], 2, 0.95).high == 0  # all outputs were sampled
    assert math.isnan(ratio([0], [0], 3, 0.95).value)
    assert ratio([1], [4], 9, 0.95) == ratio([1], [4], 9, 0.95)
    assert (ratio([1], [4], 9, 0.95).low, ratio([1], [4], 9, 0.95).high) == (0, 1)


def measured(addends, fmt):
    replay = Addends(addends).replay(fmt)
    return replay.n_absorbed.sum() / replay.n_additions.sum()


def normal(n_addends, mean=0.0, seed=0):
    random = np.random.default_rng(seed)
    return (mean + random.standard_normal((128, n_addends))).astype(np.float16).astype(float)


@pytest.mark.parametrize(("fmt", "mean"), [(BFLOAT16, 0.0), (BFLOAT16, 1.0), (BINARY16, 0.0)])
@pytest.mark.parametrize("n_addends", [256, 1024])
def test_the_predicted_share_is_the_measured_one(fmt, mean, n_addends):
    predicted = dict(predicted_shares(normal(n_addends, mean), fmt))
    for multiple in (1, 4):
        share = measured(normal(multiple * n_addends, mean, seed=9), fmt)
        assert predicted[multiple * n_addends] == pytest.approx(share, rel=0.25)


def test_growth_with_k_is_that_of_a_random_walk_or_of_a_drift():
    """Share ~ K^(1/2) for addends around zero, ~ K where they have one sign, while it is small."""

    def exponent(mean, fmt):
        shares = dict(predicted_shares(normal(512, mean), fmt))
        return math.log(shares[32768] / shares[2048]) / math.log(16)

    assert exponent(0.0, BINARY16) == pytest.approx(0.5, abs=0.12)
    assert exponent(0.25, BINARY16) == pytest.approx(1.0, abs=0.25)


def test_addends_without_a_sum_predict_nothing():
    assert all(math.isnan(share) for _, share in predicted_shares(np.zeros((4, 8)), BFLOAT16))
