"""Bounds on the errors of cells, and decisions that they leave open, against rationals."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import _cells as cells_of
from deephochuli.pieces import _plane, plane
from deephochuli.pieces._affine import Dense
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._cells import Cells
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._moves import Prepared, moved
from deephochuli.pieces._norms import norms_of
from deephochuli.pieces._program import Step
from deephochuli.pieces._state import Value
from tests.unit.pieces.nets import linear
from tests.unit.pieces.test_cells import CORNERS, nearly_one

SQUARE = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])


def one_cell(rows, error):
    """The square of side 1/2, with functions by their values at the corners of the triangle."""
    return Cells(SQUARE, np.array([0, 4]), {0: Value(np.array(rows), np.array(error))})


def test_open_decisions_of_early_layers_are_counted_as_well():
    early = plane(nearly_one(1e6), *CORNERS)
    late = nn.Sequential(*nearly_one(1e6), linear([[1.0]], [100.0]), nn.ReLU())
    found = plane(late, *CORNERS)
    assert found.n_close == early.n_close > 0
    assert found.n_regions == early.n_regions


@pytest.mark.parametrize("log2_gap", [-10, -34, -44])
def test_lines_much_nearer_than_single_precision_leave_a_strip_between_them(log2_gap):
    gap = 2.0**log2_gap
    model = nn.Sequential(linear([[1.0, 0.0], [1.0, 0.0]], [0.0, -gap]), nn.ReLU())
    found = plane(model, *CORNERS)
    assert (found.n_regions, found.n_close) == (3, 0)
    assert sorted(found.areas)[0] == gap / 2
    assert found.areas.sum() == 1


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("apart", "is_open"), [(1.3e-6, True), (3e-6, False)])
def test_the_difference_of_two_candidates_may_err_as_both_do(side, apart, is_open):
    """One is larger by 1, at one corner of the square by `apart` or not even; each errs by 1e-6."""
    rows = [[0.0, side * apart], [0.0, -1.0], [0.0, -1.0]]
    found, _ = cells_of._maximal(one_cell(rows, [1e-6] * 3), Maximum(np.array([[0, 1]])), 0)
    assert len(found) == (2 if side > 0 else 1)
    assert (found.n_close > 0) == is_open


def test_nothing_is_open_beside_units_that_are_off():
    """Units 0 and 1 are off, unit 2 is on, and zero along the border x = 0 of the square."""
    rows = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    cell = one_cell(rows, [1e-6] * 3)
    behind_relu = replace(cell, values={0: replace(cell.values[0], has_exact_zeros=True)})
    for index, winner in (([0, 1], 0), ([0, 2], 2), ([2, 0], 2), ([0, 1, 2], 2)):
        most = Maximum(np.array([index]))
        found, out = cells_of._maximal(behind_relu, most, 0)
        assert (len(found), found.n_close) == (1, 0)
        assert out.rows.ravel().tolist() == [row[winner] for row in rows]
        assert out.has_exact_zeros
        assert cells_of._maximal(cell, most, 0)[0].n_close > 0


def test_a_relu_that_is_off_leaves_exact_zeros():
    relu = Elementwise(np.zeros(1), np.array([[0.0], [1.0]]), 0.0, 2)
    cell = one_cell([[-1.0, 1.0], [-2.0, 2.0], [-1.0, 3.0]], [1e-6] * 3)
    found, out = cells_of._bent(cell, relu, 0)
    again, _ = cells_of._bent(replace(found, values={0: out}), relu, 0)
    assert (found.n_close, again.n_close) == (0, 0)
    leaky = Elementwise(np.zeros(1), np.array([[0.5], [1.0]]), 0.0, 2)
    assert not cells_of._bent(cell, leaky, 0)[1].has_exact_zeros


def test_values_at_corners_of_cells_err_by_less_than_the_bound():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((3, 5))
    places = rng.uniform(size=(200, 2)) / 2
    cells = Cells(places, np.array([0, 200]), {0: Value(rows, np.zeros(3))})
    at = cells_of._at_vertices(cells, cells.values[0])
    bound = cells_of._bounds(cells.values[0], 1)[0]
    n_off = 0
    for (s, t), row in zip(places.tolist(), at, strict=True):
        shares = 1 - Fraction(s) - Fraction(t), Fraction(s), Fraction(t)
        for j in range(5):
            truth = sum(w * Fraction(float(v)) for w, v in zip(shares, rows[:, j], strict=True))
            off = abs(Fraction(float(row[j])) - truth)
            n_off += off > 0
            assert off <= bound[j]
    assert n_off > 500


def after_dense(bias):
    """A value straight behind an affine step: its bound is one for each entry."""
    rng = np.random.default_rng(1)
    op = Dense(rng.standard_normal((3, 12)), np.array([0.1, bias, 0.3]))
    step = Prepared(Step("", op, (0,), 1), norms_of(op), Grain(op))
    x = rng.standard_normal((6, 12))
    return moved(step, op, [Value(x, np.array([0.0, 1e-9, 1e-7, 1e-12, 0.0, 0.0]))])


def test_the_bound_of_a_cell_is_that_of_its_worst_corner():
    z = after_dense(1e3)
    bound = cells_of._bounds(z, 2)
    for r in range(6):
        at = z.error_at(np.full(3, r), np.arange(3))
        assert (bound[r // 3] >= at * (1 - 1e-12)).all()
    assert (bound[0] < 1e-6).all()
    assert (bound[0] > 1e-8).all()


def test_parts_of_a_cell_have_its_bounds():
    z = replace(after_dense(1.0), has_exact_zeros=True)
    whole = Cells(np.concatenate([SQUARE, SQUARE]), np.array([0, 4, 8]), {0: z}, 3)
    parent = np.array([0, 1, 1])
    parts = cells_of._children(whole, np.tile(SQUARE, (3, 1)), np.arange(0, 13, 4), parent, 2)
    assert parts.n_close == 5
    bounds = [cells_of._bounds(each.values[0], len(each)) for each in (whole, parts)]
    np.testing.assert_array_equal(bounds[1], bounds[0][parent])
    assert parts.values[0].has_exact_zeros


@pytest.mark.parametrize("slope", [2.0, 0.25])
def test_a_bend_passes_on_the_error_of_every_corner(slope):
    op = Elementwise(np.zeros(1), np.array([[0.0], [slope]]), 0.0, 2)
    error = np.array([1e-6, 2e-6, 3e-6])
    _, out = cells_of._bent(one_cell([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], error), op, 0)
    assert (out.error >= slope * error).all()
    assert (out.error <= 1.001 * slope * error).all()


def test_a_maximum_passes_on_the_error_of_every_corner():
    error = np.array([1e-6, 2e-6, 3e-6])
    cells = one_cell([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], error)
    _, out = cells_of._maximal(cells, Maximum(np.array([[0, 1]])), 0)
    assert (out.error >= error).all()
    assert (out.error <= 1.001 * error).all()


def test_a_bend_that_rounds_says_so():
    op = Elementwise(np.array([0.1]), np.array([[0.3], [0.7]]), 0.03, 4)
    rows = np.random.default_rng(2).standard_normal((3, 4)) + 9
    for error in (0.0, 1e-300):
        _, out = cells_of._bent(one_cell(rows, [error] * 3), op, 0)
        for row, y, bound in zip(rows, out.rows, out.error, strict=True):
            truth = [
                Fraction(0.03) + Fraction(0.7) * (Fraction(float(v)) - Fraction(0.1)) for v in row
            ]
            off = [Fraction(float(a)) - b for a, b in zip(y, truth, strict=True)]
            assert 0 < float(sum(v * v for v in off)) ** 0.5 <= bound


def test_the_error_of_a_map_is_that_of_its_worst_corner():
    """Without biases all is exact at the origin, a corner, and paths cancel but for a rounding."""
    corners = [torch.tensor(v, dtype=torch.float64) for v in ([0.0, 0.0], [1.0, -0.5], [-1.0, 1.0])]
    rng = np.random.default_rng(3)
    off = 0
    for _ in range(6):
        a, b = rng.uniform(0.1, 1, (2, 6))
        up, down = np.append(a, b), np.append(b, -a)
        order = rng.permutation(12)
        spread, out = linear(up[order][:, None], np.zeros(12)), linear(down[order][None], [0.0])
        model = nn.Sequential(linear([[0.7, 0.45]], [0.0]), nn.ReLU(), spread, nn.ReLU(), out)
        found = plane(model, *corners)
        assert (found.n_regions, found.pieces.low) == (2, 1)
        off += found.pieces.high == 2
    assert off > 0  # or float64 sees nothing of it, and nothing is tested


def test_the_polygon_lies_in_the_triangle_whose_corners_bound_its_errors(monkeypatch):
    seen = []

    def walk(program, corners, inside, **others):
        seen.append(inside)
        return cells_of.walk_cells(program, corners, inside, **others)

    monkeypatch.setattr(_plane, "walk_cells", walk)
    model = nn.Sequential(linear([[1.0, 0.0]], [0.0]), nn.ReLU())
    for polygon in (_plane.SQUARE, ((-3.0, 1.0), (2.0, -1.0), (4.0, 7.0), (-2.0, 8.0))):
        plane(model, *CORNERS, polygon=polygon)
    for inside in seen:
        assert inside.min() >= 0
        assert inside.sum(axis=1).max() <= 1
    assert len(seen) == 2
