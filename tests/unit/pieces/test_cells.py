"""Polygons, maps and open decisions of a plane against numbers worked out by hand or by torch."""

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import _polygons as polygons
from deephochuli.pieces import plane
from deephochuli.pieces._bends import Elementwise
from deephochuli.pieces._cells import _heights
from tests.unit.pieces.nets import linear
from tests.unit.pieces.planar import net

CORNERS = [torch.tensor(v, dtype=torch.float64) for v in ([-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0])]
SKEW = [torch.tensor(v, dtype=torch.float64) for v in ([0.5, -1.0], [2.0, -0.75], [0.25, 2.0])]
ELSEWHERE = ((-0.5, 0.25), (0.5, 0.25), (0.75, 2.0), (-0.25, 3.25))
SQUARE = [[0.0, 0.0], [0.25, 0.0], [0.25, 0.25], [0.0, 0.25]]


class Largest(nn.Module):
    """The largest of three neighbours."""

    def forward(self, x):
        """A third as many outputs as inputs."""
        return x.unflatten(-1, (-1, 3)).amax(-1)


def prelu():
    layer = nn.PReLU(6, dtype=torch.float64)
    layer.weight.data = torch.linspace(-0.5, 0.75, 6, dtype=torch.float64)
    return layer


@pytest.mark.parametrize(
    "make",
    [
        nn.ReLU,
        nn.ReLU6,
        nn.Hardsigmoid,
        lambda: nn.Hardtanh(-0.3, 0.2),
        lambda: nn.Hardtanh(0.1, 0.4),
        prelu,
        Largest,
    ],
)
def test_every_map_is_the_module_in_its_region_on_any_polygon(make):
    first = net(6, 1, seed=3)[0]
    n = 2 if make is Largest else 6
    model = nn.Sequential(first, make(), nn.Linear(n, 6, dtype=torch.float64), make())
    generator = torch.Generator().manual_seed(0)
    model[2].weight.data = 3 * torch.randn(6, n, generator=generator, dtype=torch.float64)
    model[2].bias.data = torch.randn(6, generator=generator, dtype=torch.float64)
    found = plane(model, *SKEW, polygon=ELSEWHERE)
    assert found.n_regions > 5
    for i in range(found.n_regions):
        a, b = found.polygon(i).mean(axis=0)
        x = SKEW[0] + a * (SKEW[1] - SKEW[0]) + b * (SKEW[2] - SKEW[0])
        with torch.no_grad():
            truth = model(x[None])[0].numpy()
        np.testing.assert_allclose([1, a, b] @ found.maps[i], truth, atol=1e-12)
    x, y = np.array(ELSEWHERE).T
    area = 0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1))
    assert found.areas.sum() == pytest.approx(area, rel=1e-13)
    sides = np.array([[1.5, 0.25], [-0.25, 3.0]])
    assert found.area_scale == pytest.approx(abs(np.linalg.det(sides)), rel=1e-13)


def test_heights_at_knots_add_up():
    op = Elementwise(
        np.array([-1.0, 0.0, 2.0, 5.0]),
        np.array([[9.0, 9.0], [1.0, 2.0], [-3.0, 4.0], [0.5, 8.0], [7.0, 7.0]]),
        0.25,
        2,
    )
    truth = op.apply(np.repeat(op.knots[:, None], 2, axis=1))
    assert _heights(op).tolist() == truth.tolist()


def test_area_and_centroid_of_polygons():
    triangle = [[0.0, 0.0], [0.75, 0.0], [0.0, 0.375]]
    trapezium = [[0.0, 0.0], [0.5, 0.0], [0.25, 0.25], [0.0, 0.25]]
    line = [[0.0, 0.0], [0.5, 0.0], [0.25, 0.0]]
    vertices = np.array([*triangle, *trapezium, *line])
    areas, centers = polygons.measured(vertices, np.array([0, 3, 7, 10]))
    assert areas.tolist() == [0.140625, 0.09375, 0.0]
    expected = [[0.25, 0.125], [7 / 36, 1 / 9], [0.25, 0.0]]
    np.testing.assert_allclose(centers, expected, rtol=1e-14)


def joined(shift, apart=0.0, error=0.0):
    """Pieces of two squares, one moved by a shift, whose maps differ by `apart`."""
    vertices = np.concatenate([SQUARE, np.array(SQUARE) + shift])
    maps = np.array([[1.0, 2.0], [1.0, 2.0 + apart]])
    return polygons.n_joined(vertices, np.array([0, 4, 8]), maps, np.full(2, error), 1e-12)


@pytest.mark.parametrize(
    ("shift", "n"),
    [
        ((0.25, 0.0), 1),
        ((0.0, -0.25), 1),
        ((0.25, 0.2), 1),  # a part of an edge
        ((0.25, 0.25), 2),  # a corner
        ((-0.25, 0.25), 2),
        ((0.25, 0.26), 2),  # edges on one line, apart
        ((0.2501, 0.0), 2),  # beside each other, apart
        ((0.25 + 1e-14, 0.0), 1),
    ],
)
def test_regions_are_neighbours_where_they_share_a_stretch_and_no_corner(shift, n):
    assert joined(shift) == (n, n)


def test_maps_may_be_one_up_to_the_sum_of_both_errors():
    assert joined((0.25, 0.0), apart=2.0**-20, error=2.0**-21) == (1, 2)
    assert joined((0.25, 0.0), apart=2.0**-20, error=2.0**-21 * 0.999) == (2, 2)


def parted(nearest, bound, tol=0.0):
    """Cut the square by x = 0.25 - nearest, with a bound on the error of that function."""
    f = np.array([[[-0.25 + nearest], [0.75 + nearest], [-0.25 + nearest]]])
    vertices, start = np.array(SQUARE), np.array([0, 4])
    return polygons.parted(vertices, start, f, np.array([tol]), np.array([[bound]]))


def test_a_cut_nearer_to_a_corner_than_the_bound_is_an_open_decision():
    for nearest, bound, n_close in ((2.0**-20, 2.0**-20, 1), (2.0**-20, 2.0**-20 * 0.99, 0)):
        vertices, start, parent, close = parted(nearest, bound)
        assert (len(parent), close) == (2, n_close)
        assert sorted(polygons.measured(vertices, start)[0]) == [
            pytest.approx(0.25 * nearest, rel=1e-9),
            pytest.approx(0.25 * (0.25 - nearest), rel=1e-9),
        ]
    assert parted(2.0**-20, 2.0**-19, tol=2.0**-20)[3] == 1  # not cut, and still open
    assert len(parted(2.0**-20, 2.0**-19, tol=2.0**-20)[2]) == 1


def test_a_line_through_corners_leaves_them_to_both_sides():
    diagonal = np.array([[[0.0], [1.0], [-1.0]]])
    vertices, start, _, _ = polygons.parted(
        np.array(SQUARE), np.array([0, 4]), diagonal, np.zeros(1), np.zeros((1, 1))
    )
    assert np.diff(start).tolist() == [3, 3]
    assert polygons.measured(vertices, start)[0].tolist() == [0.03125, 0.03125]


def test_a_takeover_nearer_to_a_corner_than_the_bound_is_an_open_decision():
    vertices, start, owner = np.array(SQUARE), np.array([0, 4]), np.zeros(1, np.int64)
    near = 2.0**-20
    z = np.array([[[0.0, -0.25 + near], [0.0, 0.75 + near], [0.0, -0.25 + near]]])
    for bound, n_close in ((near, 2), (0.99 * near, 0)):  # both candidates ask
        found = polygons.parted_by_largest(
            vertices, start, z, owner, np.array([0, 1]), np.zeros(1), np.array([[0.0, bound]])
        )
        assert (len(found[2]), found[3]) == (2, n_close)


@pytest.mark.parametrize("order", [(0, 1, 0), (0, 0, 1), (1, 0, 0)])
def test_of_candidates_that_are_one_the_first_has_the_region(order):
    lines = [[1.0, 0.0], [0.0, 1.0]]
    model = nn.Sequential(linear([lines[i] for i in order], [0.0] * 3), Largest())
    found = plane(model, *CORNERS)
    assert sorted(found.areas.tolist()) == [0.5, 0.5]
    assert found.pieces.low == found.pieces.high == 2


def nearly_one(far):
    """Lines of the first layer again in the third, with a large number added and taken away."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    bias = torch.tensor([0.25, -0.125, 0.375], dtype=torch.float64)
    one, none = torch.eye(6, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    return nn.Sequential(
        *(linear(weight.repeat(2, 1), torch.cat([bias, none + far])), nn.ReLU()),
        *(linear(one, torch.cat([none, none + 16 - far])), nn.ReLU()),
        *(linear(one, torch.cat([none, bias - 16])), nn.ReLU()),
        linear([[1.0, 0.5, 2.0, 0.25, 3.0, 1.5]], [1.0]),
    )


def test_lines_that_are_one_but_for_roundings_are_open_decisions_in_all_batches():
    first = nearly_one(1e6)[:2]
    alone = plane(first, *CORNERS)
    assert alone.n_close == 0
    found = plane(nearly_one(1e6), *CORNERS)
    assert found.n_close > 0
    assert found.n_regions >= alone.n_regions
    for most_bytes in (1, 6000):
        assert plane(nearly_one(1e6), *CORNERS, most_bytes=most_bytes).n_close == found.n_close


def test_paths_that_cancel_but_for_a_rounding_may_be_one_piece():
    """One bend whose paths cancel in real arithmetic, and in float64 leave a rounding."""
    rng = np.random.default_rng(1)
    off = 0
    for _ in range(6):
        a, b = rng.uniform(0.1, 1, (2, 6))
        order = rng.permutation(12)
        up, down = np.append(a, b)[order], np.append(b, -a)[order]
        first = linear([[0.7, 0.45]], [0.1])
        spread = linear(up[:, None], np.ones(12))
        model = nn.Sequential(first, nn.ReLU(), spread, nn.ReLU(), linear(down[None], [1.0]))
        found = plane(model, *CORNERS)
        assert (found.n_regions, found.pieces.low) == (2, 1)
        off += found.pieces.high == 2
    assert off > 0  # or float64 sees nothing of it, and nothing is tested
