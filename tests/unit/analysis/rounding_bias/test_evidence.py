"""Wagers gain nothing on average without a bias: by all outcomes, by simulation, by scipy."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from deephochuli.analysis.rounding_bias import (
    Evidence,
    self_normalised_evidence,
    student_p,
    student_reach,
    summary_of,
    t_of,
    tilted_evidence,
    tilted_gains,
)
from deephochuli.analysis.rounding_bias._evidence import STAKES
from deephochuli.arithmetic import round_to


@pytest.mark.parametrize("n_free", [1, 2, 3, 10, 29, 1000])
def test_p_values_and_quantiles_are_scipys(n_free):
    t = np.concatenate([np.linspace(-8, 8, 81), [-200.0, 40.0]])
    expected = 2 * stats.t.sf(np.abs(t), n_free)
    np.testing.assert_allclose(student_p(t, n_free), expected, rtol=2e-11, atol=1e-300)
    for confidence in (0.5, 0.95, 0.999):
        assert student_reach(confidence, n_free) == pytest.approx(
            stats.t.ppf((1 + confidence) / 2, n_free), rel=1e-9
        )


def test_the_ends_of_p_values():
    assert student_p([0.0, np.inf, -np.inf], 5).tolist() == [1.0, 0.0, 0.0]
    assert summary_of(np.zeros(4), 0.95)[1] == 1.0
    assert summary_of(np.ones(4), 0.95)[1] == 0.0


def test_summary_is_scipys_one_sample_t_test():
    values = np.random.default_rng(1).normal(0.3, 1, 23)
    mean, p = summary_of(values, 0.9)
    found = stats.ttest_1samp(values, 0)
    interval = found.confidence_interval(0.9)
    assert p == pytest.approx(found.pvalue, rel=1e-10)
    assert (mean.low, mean.high) == pytest.approx((interval.low, interval.high), rel=1e-10)


def outcomes(f):
    """All roundings of numbers at fractions f between two neighbours, and their probabilities."""
    for ups in itertools.product((False, True), repeat=len(f)):
        up = np.array(ups)
        yield np.where(up, 1 - f, -f), float(np.where(up, f, 1 - f).prod())


def test_under_stochastic_rounding_every_stake_gains_nothing_on_average():
    f = np.array([0.01, 0.2, 0.5, 0.77, 0.999])
    total = sum(p * np.exp(tilted_gains(e, f, 1 - f)) for e, p in outcomes(f))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


def test_other_errors_with_mean_zero_gain_at_most_that():
    a, b = np.full(3, 0.4), np.full(3, 0.9)
    for law in ([-0.4, 0.9], [-0.2, 0.2], [-0.4, 0.0, 0.4], [-0.1, 0.05, 0.05]):
        errors = np.array(list(itertools.product(law, repeat=3)))
        mean = np.mean(law)
        weights = np.ones(len(errors)) / len(errors)
        if mean:  # two points: the probabilities that make the mean zero
            up = 0.4 / 1.3
            weights = np.where(errors == 0.9, up, 1 - up).prod(1)
        total = weights @ np.exp(tilted_gains(errors, a, b))
        assert (total <= 1 + 1e-12).all()


def test_elements_that_are_exact_or_left_out_say_nothing():
    zero = np.zeros(4)
    assert not tilted_gains(zero, zero, zero).any()


def test_capital_is_shared_equally():
    gains = np.log(np.arange(1.0, len(STAKES) + 1))
    assert float(tilted_evidence(gains)) == pytest.approx(np.log((len(STAKES) + 1) / 2))


@pytest.mark.parametrize("sizes", [[1.0] * 12, [0.1, 5, 0.3, 2, 2, 1, 7, 0.5, 1, 1]])
def test_signs_at_random_gain_at_most_nothing_in_the_self_normalised_wager(sizes):
    signs = np.array(list(itertools.product((-1, 1), repeat=len(sizes))))
    steps = signs * np.array(sizes)
    capital = np.exp(self_normalised_evidence(steps.sum(1), (steps**2).sum(1)))
    assert capital.mean() <= 1 + 1e-12


def test_the_self_normalised_wager_is_the_mixture_over_stakes():
    s, v = 3.0, 7.0
    stakes = np.linspace(-12, 12, 200_001)
    density = stats.norm.pdf(stakes) * np.exp(stakes * s - stakes**2 * v / 2)
    expected = np.log(np.trapezoid(density, stakes))
    assert float(self_normalised_evidence(s, v)) == pytest.approx(expected, rel=1e-9)


def test_evidence_is_the_smaller_wager_and_remembers_its_peak():
    evidence = Evidence()
    f = np.full(50, 0.5)
    for _ in range(30):
        evidence.add(-f, f, f)
    by_steps = float(self_normalised_evidence(evidence.total, evidence.squares))
    assert evidence.now == min(by_steps, float(tilted_evidence(evidence.gains)))
    peak = evidence.peak
    assert peak > 8
    for _ in range(30):
        evidence.add(f, f, f)
    assert evidence.now < peak == evidence.peak
    assert evidence.means == [-0.5] * 30 + [0.5] * 30


def rounding_errors(shape, seed):
    """Errors of rounding normal numbers to BF16, in gaps, [..., elements]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    low, high = round_to(x, "bf16", rounding="down"), round_to(x, "bf16", rounding="up")
    return np.asarray((round_to(x, "bf16") - x) / (high - low), dtype=np.float64)


def null_steps(n_runs, n_steps=30, n_elements=64, seed=0):
    """Mean errors [runs, steps] of rounding to nearest."""
    parts = [
        np.nan_to_num(rounding_errors((500, n_steps, n_elements), seed + i)).mean(-1)
        for i in range(n_runs // 500)
    ]
    return np.concatenate(parts)


def check_null(n_runs, seed):
    steps = null_steps(n_runs, seed=seed)
    mean, error = t_of(steps)
    p = student_p(mean / error, steps.shape[1] - 1)
    covered = (np.abs(mean) <= student_reach(0.95, steps.shape[1] - 1) * error).mean()
    return stats.kstest(p, "uniform").pvalue, covered


def test_p_values_of_rounding_to_nearest_are_uniform():
    ks, covered = check_null(500, seed=11)
    assert ks > 0.01
    assert covered == pytest.approx(0.95, abs=0.025)


@pytest.mark.slow
def test_p_values_are_uniform_and_intervals_cover_in_ten_thousand_runs():
    ks, covered = check_null(10_000, seed=100)
    assert ks > 0.01
    assert 0.94 <= covered <= 0.96


def stochastic_peaks(n_runs, n_steps, n_elements, fraction, seed):
    """Largest evidence of runs in which updates of a `fraction` of a gap are rounded at random."""
    rng = np.random.default_rng(seed)
    f = np.full((n_runs, n_elements), fraction)
    gains = np.zeros((n_runs, len(STAKES)))
    total, squares, seen = (np.zeros(n_runs) for _ in range(3))
    peak = np.zeros(n_runs)
    for step in range(n_steps):
        errors = np.where(rng.random(f.shape) < f, 1 - f, -f)
        mean = errors.mean(-1)
        if step:
            x = np.divide(mean, np.sqrt(seen / step), out=np.zeros_like(mean), where=seen > 0)
            total, squares = total + x, squares + x * x
        seen += mean**2
        gains += tilted_gains(errors, f, 1 - f)
        now = np.minimum(tilted_evidence(gains), self_normalised_evidence(total, squares))
        peak = np.maximum(peak, now)
    return peak


def test_small_tensors_with_rare_jumps_of_stochastic_rounding_give_no_alarm():
    """Most steps err to the same side, which a test of signs alone would take for a bias."""
    peak = stochastic_peaks(400, 60, 8, 0.004, seed=3)
    assert (peak >= np.log(20)).mean() <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.004, 0.05, 0.5])
def test_false_alarms_of_ten_thousand_runs_stay_below_alpha(fraction):
    peak = stochastic_peaks(10_000, 200, 16, fraction, seed=9)
    for alpha in (0.1, 0.05, 0.01):
        rate = (peak >= np.log(1 / alpha)).mean()
        assert rate <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / 10_000)
