"""Angle, length and bias against direct formulas; their intervals by simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deephochuli.analysis.backward import group_sums, likeness
from deephochuli.analysis.backward._likeness import student_quantile


def pair(shape, seed, noise=0.1):
    generator = torch.Generator().manual_seed(seed)
    r = torch.randn(shape, generator=generator, dtype=torch.float64)
    return r * 0.9 + noise * torch.randn(shape, generator=generator, dtype=torch.float64), r


@pytest.mark.parametrize("shape", [(5,), (64, 3), (33, 2, 4)])
def test_values_are_those_of_the_direct_formulas(shape):
    q, r = pair(shape, 1)
    found = likeness([group_sums(q, r)], 0.95)
    a, b = q.numpy().ravel(), r.numpy().ravel()
    norms = np.linalg.norm(a), np.linalg.norm(b)
    assert found.cosine.value == pytest.approx(a @ b / norms[0] / norms[1], rel=1e-13)
    assert found.scale.value == pytest.approx(norms[0] / norms[1], rel=1e-13)
    assert found.bias.value == pytest.approx((a - b).sum() / np.abs(b).sum(), rel=1e-11)
    for each in (found.cosine, found.scale, found.bias):
        assert each.low < each.value < each.high


def test_several_tensors_are_looked_at_as_one():
    q, r = pair((40, 6), 2)
    whole = likeness([group_sums(q, r)], 0.95)
    parts = likeness([group_sums(q[:20], r[:20]), group_sums(q[20:], r[20:])], 0.95)
    assert parts.cosine.value == pytest.approx(whole.cosine.value, rel=1e-14)
    assert parts.bias.value == pytest.approx(whole.bias.value, rel=1e-12)


def test_a_tiny_angle_is_not_lost_to_cancellation():
    r = torch.ones(32, 4, dtype=torch.float64)
    q = r.clone()
    q[:, 0] += 1e-7
    q[:, 1] -= 1e-7
    found = likeness([group_sums(q, r)], 0.95)
    assert math.acos(found.cosine.low) < 1e-6
    assert found.scale.value == pytest.approx(1, abs=1e-13)


def test_what_is_not_finite_is_left_out():
    q, r = pair((32, 4), 3)
    expected = likeness([group_sums(q[:, :3], r[:, :3])], 0.95)
    q[:, 3] = math.inf
    assert likeness([group_sums(q, r)], 0.95).scale.value == expected.scale.value


def test_nothing_is_known_of_an_exact_zero_nor_of_the_spread_of_one_group():
    zero = torch.zeros(8, 2)
    assert math.isnan(likeness([group_sums(zero, zero)], 0.95).cosine.value)
    assert math.isnan(likeness([], 0.95).cosine.value)
    alone = likeness([group_sums(torch.tensor(1.5), torch.tensor(1.0))], 0.95)
    assert alone.scale.value == 1.5
    assert math.isnan(alone.scale.low)


@pytest.mark.parametrize("degrees", [1, 2, 5, 9, 31, 200])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.99])
def test_quantiles_are_student_s(degrees, probability):
    right = stats.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(right, abs=2e-3)


def coverage(n_repeats, seed):
    """Share of the intervals that hold the true angle, length and bias of normal gradients."""
    rng = np.random.default_rng(seed)
    r = rng.standard_normal((n_repeats, 32, 20))
    e = 0.2 * rng.standard_normal(r.shape) - 0.1 * r + 0.05
    # True values: e = -0.1 r + (0.05 + 0.2 n), the part in brackets independent of r.
    across = math.sqrt(0.05**2 + 0.2**2)
    truth = (
        math.cos(math.atan2(across, 0.9)),
        math.hypot(0.9, across),
        0.05 / math.sqrt(2 / math.pi),
    )
    hits = np.zeros(3)
    for r_one, e_one in zip(r, e, strict=True):
        sums = group_sums(torch.from_numpy(r_one + e_one), torch.from_numpy(r_one))
        found = likeness([sums], 0.95)
        triple = (found.cosine, found.scale, found.bias)
        hits += [each.low <= t <= each.high for each, t in zip(triple, truth, strict=True)]
    return hits / n_repeats


def test_intervals_cover_the_truth():
    found = coverage(1000, 4)
    assert ((found > 0.93) & (found < 0.97)).all()


@pytest.mark.slow
def test_intervals_cover_the_truth_in_94_to_96_percent():
    found = coverage(10_000, 5)
    assert ((found > 0.94) & (found < 0.96)).all()
