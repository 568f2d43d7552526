"""Norms, granularities and certificates against brute force."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.pieces._affine import Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._certificate import clusters
from deephochuli.pieces._events import Events, connected
from deephochuli.pieces._exactness import COARSEST, Grain, granularity, is_exact_between
from deephochuli.pieces._loops import interpolated, sides
from deephochuli.pieces._norms import norms_of, spectral_bound, spectral_bounds


def matrix_of(op, n):
    """The matrix of an affine step, column by column."""
    return op.linear([np.eye(n)]).T


def conv(shape, out, kernel, stride, padding, dilation, groups):
    weight = np.random.default_rng(0).standard_normal((out, shape[0] // groups, *kernel))
    return Conv(weight, np.ones(out), shape, stride, padding, dilation, groups)


STEPS = {
    "dense": (Dense(np.random.default_rng(1).standard_normal((5, 4)), np.ones(5)), 4),
    "dense on two vectors": (
        Dense(np.random.default_rng(1).standard_normal((5, 4)), np.ones(5), 2),
        8,
    ),
    "conv": (conv((2, 6, 5), 3, (3, 2), (1, 1), (1, 0), (1, 2), 1), 60),
    "strided conv": (conv((2, 6, 6), 4, (3, 3), (2, 2), (1, 1), (1, 1), 2), 72),
    "conv in one dimension": (conv((2, 9), 3, (4,), (2,), (1,), (1,), 1), 18),
    "scale": (Scale(np.array([2.0, -3.0]), np.ones(2), 6), 2),
    "gather": (Gather(np.array([0, 0, 1, -1, 0])), 2),
    "mean": (Mean(np.array([[0, 1], [1, -1]]), np.array([2, 3])), 2),
}


@pytest.mark.parametrize("name", STEPS)
def test_norms_bound_the_matrix_of_a_step_and_not_by_much(name):
    op, n = STEPS[name]
    matrix, norms = matrix_of(op, n), norms_of(op)
    spectral = np.linalg.norm(matrix, 2)
    assert spectral <= norms.spectral <= 2 * spectral
    assert np.linalg.norm(np.abs(matrix), 2) <= norms.frobenius
    assert (np.linalg.norm(matrix, axis=1) <= norms.unit * np.ones(len(matrix))).all()


def test_the_norm_of_a_sum_of_values():
    matrix = np.hstack([np.eye(3), -np.eye(3)])
    assert np.linalg.norm(matrix, 2) <= norms_of(Sum((1, -1), 3)).spectral


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 40), (64, 10)])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_the_spectral_bound_is_one_and_tight(shape, scale):
    matrix = np.random.default_rng(2).standard_normal(shape) * scale
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    assert largest <= spectral_bound(matrix) <= 1.2 * largest


def test_bounds_of_many_matrices_are_those_of_each():
    generator = np.random.default_rng(3)
    shapes = [(5, 5), (1, 7), (5, 5), (7, 1), (3, 4), (4, 3), (5, 5), (129, 128), (129, 128)]
    matrices = [generator.standard_normal(shape) * 2.0**i for i, shape in enumerate(shapes)]
    matrices += [np.zeros((5, 5)), np.zeros((1, 3)), np.full((5, 5), 1e-200), np.eye(5)]
    bounds = spectral_bounds(matrices)
    for matrix, bound in zip(matrices, bounds, strict=True):
        largest = np.linalg.norm(matrix, 2)
        assert largest <= bound <= 1.1 * largest
        assert bound == pytest.approx(spectral_bound(matrix), rel=1e-3, abs=0)


def test_the_spectral_bound_when_power_iteration_starts_in_the_wrong_place():
    matrix = np.diag([1.0, 1.0, 5.0])
    matrix[:2, :2] = 1.0
    assert 5.0 <= spectral_bound(matrix) < 6.0
    assert spectral_bound(np.zeros((3, 3))) == 0.0


def numbers(seed, shape):
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 9, shape) * 2.0 ** rng.integers(-40, 40, shape)


def finest(row):
    """The largest power of two that divides all numbers, by rationals."""
    exponents = []
    for x in row:
        if x:
            top, bottom = Fraction(x).numerator, Fraction(x).denominator
            exponents.append((top & -top).bit_length() - bottom.bit_length())
    return min(exponents, default=COARSEST)


def test_granularity_equals_that_of_rationals():
    x = numbers(0, (200, 3))
    x[0] = 0.0
    x[1] = 5e-324, 2.0**-1022, 1.0
    assert granularity(x).tolist() == [finest(row) for row in x.tolist()]


@pytest.mark.parametrize("seed", range(4))
def test_rows_said_to_be_exact_are(seed):
    rng = np.random.default_rng(seed)
    weight, bias = numbers(seed, (3, 4)), numbers(seed + 1, 3)
    bits = rng.integers(1, 50, (60, 1))
    x = np.round(rng.standard_normal((60, 4)) * 2.0**bits) * 2.0**-bits
    x[:5] = np.array([1.0, 0.5, -2.0, 0.0])
    op = Dense(weight, bias)
    said = Grain(op).is_exact([x])
    for row, y, is_exact in zip(x.tolist(), op.apply([x]).tolist(), said, strict=True):
        truth = [
            sum((Fraction(w) * Fraction(v) for w, v in zip(ws, row, strict=True)), Fraction(b))
            for ws, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        assert not is_exact or truth == [Fraction(v) for v in y]


def test_dyadic_products_are_known_to_be_exact_and_others_are_not():
    x = np.array([[0.5, 0.25], [0.1, 0.3]])
    dense = Dense(np.array([[2.0, -4.0]]), np.array([-0.5]))
    assert Grain(dense).is_exact([x]).tolist() == [True, False]
    relu = Elementwise(np.zeros(1), np.array([[0.0], [1.0]]), 0.0, 2)
    assert Grain(relu).is_exact([x]).tolist() == [True, True]
    assert Grain(Scale(np.ones(2), np.zeros(2), 3)).is_exact([x]).tolist() == [False, False]


def test_interpolation_said_to_be_exact_is():
    rng = np.random.default_rng(5)
    a, b = (np.round(rng.standard_normal((80, 3)) * 2.0**20) * 2.0**-20 for _ in range(2))
    lam = np.round(rng.uniform(size=80) * 2.0**30) * 2.0 ** -rng.integers(30, 52, 80)
    rows, _ = interpolated(np.stack([a, b], axis=1).reshape(-1, 3), np.arange(0, 160, 2), lam)
    said = is_exact_between(a, b, lam)
    assert said.any()
    assert not said.all()
    for i in np.flatnonzero(said):
        share = Fraction(float(lam[i]))
        truth = [(1 - share) * Fraction(p) + share * Fraction(q) for p, q in zip(a[i], b[i])]  # noqa: B905
        assert truth == [Fraction(float(v)) for v in rows[3 * i + 1]]


def test_sides_equal_those_of_array_operations():
    rng = np.random.default_rng(6)
    z = np.round(rng.standard_normal((30, 7)) * 2) / 2
    row, unit, floor = rng.uniform(0, 0.2, 30), rng.uniform(0, 3, 7), rng.uniform(0, 0.1, 7)
    is_exact = rng.uniform(size=30) < 0.3
    near, cross = sides(z, row, unit, floor, is_exact, 0.5)
    bound = row[:, None] * unit + floor
    expected = np.nonzero((np.abs(z - 0.5) <= bound) & ~is_exact[:, None])
    assert near.tolist() == [each.tolist() for each in expected]
    changes = np.nonzero((z[:-1] - 0.5) * (z[1:] - 0.5) < 0)
    assert cross.tolist() == [each.tolist() for each in changes]


def events(*rows):
    """Events from (low, high, step, unit, left, right)."""
    kinds = (float, float, np.int32, np.int64, np.int8, np.int8)
    columns = [np.array(c, k) for c, k in zip(zip(*rows, strict=True), kinds, strict=True)]
    return Events(*columns, np.ones(len(rows), np.int32))


@pytest.mark.parametrize(
    ("rows", "least", "most"),
    [
        ([(0.1, 0.2, 1, 0, -1, 1)], 1, 1),  # a change of side, alone
        ([(0.1, 0.2, 1, 0, 1, 1)], 0, 0),  # close, on one side, and nothing else near
        ([(0.0, 0.2, 1, 0, 0, 1)], 0, 1),  # close at the end of the segment
        ([(0.1, 0.2, 1, 0, -1, 1), (0.15, 0.3, 1, 1, 1, -1)], 1, 2),  # may coincide
        ([(0.1, 0.2, 1, 0, -1, 1), (0.15, 0.3, 2, 1, 1, 1)], 1, 3),  # may bend twice, or not
        ([(0.1, 0.2, 1, 0, 1, 1), (0.15, 0.3, 1, 1, -1, -1)], 0, 0),  # both see straight lines
        (
            [(0.1, 0.2, 1, 0, -1, 1), (0.15, 0.3, 1, 1, -1, 1), (0.25, 0.4, 1, 2, -1, 1)],
            2,
            3,
        ),
    ],
)
def test_what_a_group_of_events_can_mean(rows, least, most):
    found = clusters(events(*rows))
    assert (found.least.tolist(), found.most.tolist()) == ([least], [most])


def test_events_that_do_not_touch_are_apart():
    found = clusters(events((0.1, 0.2, 1, 0, -1, 1), (0.3, 0.4, 1, 1, -1, 1)))
    assert found.least.tolist() == [1, 1]
    assert found.is_sure.all()


def test_events_of_one_unit_that_go_on_are_one():
    parts = events((0.1, 0.2, 1, 0, -1, 0), (0.2, 0.3, 1, 0, 0, 0), (0.3, 0.4, 1, 0, 0, 1))
    whole = connected(parts)
    assert len(whole) == 1
    assert (whole.low[0], whole.high[0], whole.left[0], whole.right[0]) == (0.1, 0.4, -1, 1)
    others = events((0.1, 0.2, 1, 0, -1, 0), (0.2, 0.3, 1, 1, 0, 1))
    assert len(connected(others)) == 2


def test_torch_and_the_bound_agree_that_a_sum_errs_little():
    op = STEPS["conv"][0]
    x = np.random.default_rng(7).standard_normal((20, 60))
    norms = norms_of(op)
    wide = op.apply([x])
    narrow = torch.nn.functional.conv2d(
        torch.as_tensor(x.astype(np.longdouble).astype(float)).reshape(-1, 2, 6, 5),
        torch.as_tensor(op.weight),
        torch.as_tensor(op.bias),
        op.stride,
        op.padding,
        op.dilation,
        op.groups,
    ).reshape(20, -1)
    bound = norms.gamma * (norms.frobenius * np.linalg.norm(x, axis=1) + norms.offset_norm)
    assert (np.linalg.norm(wide - narrow.numpy(), axis=1) <= bound).all()
