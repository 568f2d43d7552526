"""Null laws, power and coverage by simulation of the values themselves, 10,000 repeats each."""

import numpy as np
import pytest
from scipy.stats import kstest

from deephochuli.analysis.barrier import Interval, law_of, trailing_zeros
from deephochuli.analysis.barrier import _laws as laws
from deephochuli.analysis.barrier._tally import Blocks
from deephochuli.formats import BINARY32

N_REPEATS = 10_000


def is_uniform(p):
    assert len(p) == N_REPEATS
    return kstest(p, "uniform").pvalue > 0.01


def randomised(upper, statistics, rng):
    """P(X > x) + U P(X = x): uniform for a discrete law if, and only if, its tails are right."""
    tails = {x: (upper(x + 1), upper(x)) for x in np.unique(statistics).tolist()}
    above, at_least = np.array([tails[x] for x in statistics.tolist()]).T
    return above + rng.random(len(statistics)) * (at_least - above)


@pytest.mark.slow
def test_p_values_of_the_cutoff_are_uniform_under_rarity():
    rng = np.random.default_rng(0)
    n = 4000
    smallest = np.concatenate(
        [np.abs(rng.normal(size=(1000, n))).min(1) for _ in range(N_REPEATS // 1000)]
    )
    p0 = 1 / np.sqrt(2 * np.pi)
    assert is_uniform(np.array([laws.cutoff_p(n, p0, m) for m in smallest]))


@pytest.mark.slow
def test_p_values_of_trailing_zeros_are_uniform_without_a_lattice():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(N_REPEATS, 64)).astype(np.float32).astype(np.float64)
    totals = trailing_zeros(values, BINARY32).sum(1)
    assert is_uniform(randomised(lambda t: laws.trailing_upper(t, 64), totals, rng))


@pytest.mark.slow
def test_p_values_of_zeros_are_uniform_where_the_range_makes_them():
    """|z| below half the smallest number of FP16, of normal values of scale 2^-16."""
    rng = np.random.default_rng(2)
    n, scale = 2000, 2.0**-16
    zeros = np.concatenate(
        [
            ((rng.normal(size=(1000, n)) * scale).astype(np.float16) == 0).sum(1)
            for _ in range(N_REPEATS // 1000)
        ]
    )
    mean = n * 2.0**-24 / (np.sqrt(2 * np.pi) * scale)
    assert is_uniform(randomised(lambda k: laws.poisson_upper(k, mean), zeros, rng))


@pytest.mark.slow
def test_p_values_of_bins_are_uniform():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(N_REPEATS):
        column = np.clip(-np.frexp(rng.random(3000))[1], 0, 63)
        p.append(laws.bins_p(np.bincount(column, minlength=64)))
    assert is_uniform(np.array(p))


@pytest.mark.slow
def test_p_values_of_magnitudes_are_uniform():
    rng = np.random.default_rng(4)
    values = rng.uniform(0, 0.25, (N_REPEATS, 40))
    assert is_uniform(np.array([laws.uniform_p(each, 0.25) for each in values]))


@pytest.mark.slow
def test_p_values_of_distinct_values_are_uniform_where_cells_are_filled_at_random():
    rng = np.random.default_rng(5)
    cells, groups, n = 128, 40, 60
    p = []
    offset = np.arange(groups)[:, None] * cells
    for _ in range(N_REPEATS):
        drawn = rng.integers(0, cells, (groups, n)) + offset
        seen = np.count_nonzero(np.bincount(drawn.ravel(), minlength=groups * cells))
        fewer, at_most = (
            laws.distinct_p(each, np.full(groups, n), cells)[1] for each in (seen - 1, seen)
        )
        p.append(fewer + rng.random() * (at_most - fewer))
    assert is_uniform(np.array(p))


@pytest.mark.slow
@pytest.mark.parametrize("mean", [300, 3000, 30000])
def test_intervals_of_the_density_cover_as_they_should(mean):
    rng = np.random.default_rng(6)
    counts = rng.binomial(mean * 50, 1 / 50, N_REPEATS)
    scale = laws.density(1, mean * 50, 0.5, 0.95).value
    covers = [laws.density(int(k), mean * 50, 0.5, 0.95).holds(scale * mean) for k in counts]
    assert 0.94 <= np.mean(covers) <= 0.96


@pytest.mark.slow
def test_intervals_of_the_exponent_cover_as_they_should():
    rng = np.random.default_rng(7)
    covers = []
    for _ in range(N_REPEATS):
        minimum = rng.exponential(1e-6, 256)
        blocks = Blocks(np.full(256, 1 << 17), np.full(256, 9), minimum)
        covers.append(law_of(blocks).exponent.holds(-1))
    assert 0.94 <= np.mean(covers) <= 0.96


@pytest.mark.slow
def test_the_range_of_the_cutoff_holds_the_cutoff_as_often_as_it_should():
    rng = np.random.default_rng(8)
    found: Interval = laws.cutoff(3000, 0.5)
    smallest = np.concatenate(
        [rng.uniform(0, 1, (1000, 3000)).min(1) for _ in range(N_REPEATS // 1000)]
    )
    assert 0.94 <= np.mean((smallest >= found.low) & (smallest <= found.high)) <= 0.96


@pytest.mark.slow
def test_trailing_zeros_reject_as_often_as_their_law_says():
    rng = np.random.default_rng(9)
    # FP32 values in [2^-13, 2^-12), for instance four on a lattice of 2^-28: 8 bits forced.
    for forced, n in [(8, 4), (5, 4), (4, 5)]:
        steps = rng.integers(1 << (23 - forced), 1 << (24 - forced), (N_REPEATS, n))
        values = steps * 2.0 ** (forced - 36)
        totals = trailing_zeros(values, BINARY32).sum(1)
        rejected = np.mean([laws.trailing_upper(int(t), n) < 1e-6 for t in totals])
        critical = next(t for t in range(99) if laws.trailing_upper(t, n) < 1e-6)
        stated = laws.trailing_upper(critical - n * forced, n)
        error = 4 * np.sqrt(max(stated * (1 - stated), 1e-4) / N_REPEATS)
        assert abs(rejected - stated) < error
