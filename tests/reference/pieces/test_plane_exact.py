"""A plane in exact arithmetic against plain fractions: counts, areas, maps and pieces are equal."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces import plane
from deephochuli.pieces._exact_cells import ExactCell, exact_cells
from deephochuli.pieces._exact_cells import n_pieces as n_exact_pieces
from tests.reference.pieces import test_plane_close as close
from tests.reference.pieces.flat import area, n_pieces, regions
from tests.reference.pieces.test_plane import CORNERS, INPUTS, SQUARE, drawn
from tests.unit.pieces.nets import linear
from tests.unit.pieces.planar import net
from tests.unit.pieces.test_cells import nearly_one


def centre(polygon):
    return tuple(sum(each) / len(polygon) for each in zip(*polygon, strict=True))


def agree(seed):
    model, layers = drawn(seed)
    truth = regions(layers, SQUARE, INPUTS)
    found = plane(model, *CORNERS, exact=True)
    assert found.is_exact
    assert (found.n_regions, found.n_close) == (len(truth), 0), seed
    assert (found.pieces.low, found.pieces.high) == (n_pieces(truth),) * 2, seed
    key = {}
    for polygon, functions in truth:
        key[tuple(round(float(c), 9) for c in centre(polygon))] = float(area(polygon)), functions[0]
    for i in range(found.n_regions):
        polygon = [(Fraction(a), Fraction(b)) for a, b in found.polygon(i).tolist()]
        size, function = key[tuple(round(float(c), 9) for c in centre(polygon))]
        assert found.areas[i] == size
        np.testing.assert_allclose(found.maps[i, :, 0], [float(v) for v in function], rtol=1e-15)


@pytest.mark.parametrize("seed", range(12))
def test_regions_areas_maps_and_pieces_are_those_of_fractions(seed):
    agree(seed)


@pytest.mark.slow
def test_the_same_for_two_hundred_networks():
    for seed in range(12, 212):
        agree(seed)


def test_lines_through_a_corner_but_for_a_rounding_are_decided(monkeypatch):
    monkeypatch.setattr(close, "plane", lambda *given: plane(*given, exact=True))
    for seed in range(8):
        found, truth = close.at_a_corner(seed)
        assert found.n_regions == truth


def test_lines_that_are_one_but_for_roundings_are_one():
    alone = plane(nearly_one(1e6)[:2], *CORNERS)
    rounded = nearly_one(1024.0)  # no bias loses a digit
    found = plane(rounded, *CORNERS, exact=True)
    assert found.n_regions == alone.n_regions
    assert plane(rounded, *CORNERS).n_close > 0


@pytest.mark.parametrize("make", [nn.ReLU6, nn.Hardsigmoid, lambda: nn.PReLU(4)])
def test_functions_with_knots_and_slopes_of_their_own_agree_with_float64(make):
    layer = make().double()
    for each in layer.parameters():
        each.data = torch.linspace(-0.5, 0.75, 4, dtype=torch.float64)
    first = linear([[3.0, 0.1], [-2.0, 5.0], [7.0, 7.0], [0.3, -9.0]], [0.2, 3.5, 1.0, -0.7])
    model = nn.Sequential(first, layer, linear([[0.1, 0.7, -0.9, 0.4]], [0.3]))
    corners = [c + torch.tensor([0.25, -0.125], dtype=torch.float64) for c in CORNERS]
    polygon = ((-0.5, 0.25), (0.5, 0.25), (0.75, 2.0), (-0.25, 3.25))
    found, exact = (plane(model, *corners, polygon=polygon, exact=e) for e in (False, True))
    assert found.n_regions == exact.n_regions > 5
    assert exact.pieces.low in found.pieces
    np.testing.assert_allclose(np.sort(exact.areas), np.sort(found.areas), rtol=1e-11)
    order, other = (np.lexsort(each.maps[:, :, 0].round(9).T) for each in (exact, found))
    np.testing.assert_allclose(exact.maps[order], found.maps[other], atol=1e-12)
    assert exact.area_scale == found.area_scale


def test_a_convolution_with_max_pooling_agrees_with_float64():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2), nn.ReLU()
    )
    x = torch.randn(3, 1, 6, 6)
    told = []
    middle = ((0.3, 0.3), (0.6, 0.3), (0.6, 0.6), (0.3, 0.6))
    found = plane(model, *x, polygon=middle)
    exact = plane(model, *x, polygon=middle, exact=True, report=lambda *now: told.append(now))
    assert found.n_close == 0
    assert exact.n_regions == found.n_regions == told[-1][1] > 15
    assert told[-1][0] == 1
    np.testing.assert_allclose(np.sort(exact.areas), np.sort(found.areas), rtol=1e-9, atol=1e-13)


def square(x, y, n):
    """A square of side 1/4 with the lower left corner at (x, y), and a map that is all n."""
    sides = (0, 0), (1, 0), (1, 1), (0, 1)
    places = tuple((Fraction(x) + Fraction(a, 4), Fraction(y) + Fraction(b, 4)) for a, b in sides)
    return ExactCell(places, ((Fraction(n),),) * 3)


@pytest.mark.parametrize(
    ("x", "y", "n"),
    [
        (0.25, 0.0, 1),
        (0.0, -0.25, 1),
        (0.25, 0.2, 1),  # a part of an edge
        (0.25, 0.25, 2),  # a corner
        (-0.25, 0.25, 2),
        (0.25, 0.26, 2),  # edges on one line, apart
        (0.25 + 2.0**-50, 0.0, 2),  # beside each other, apart
    ],
)
def test_regions_are_neighbours_where_they_share_a_stretch_and_no_corner(x, y, n):
    assert n_exact_pieces([square(0, 0, 1), square(x, y, 1)]) == n
    assert n_exact_pieces([square(0, 0, 1), square(x, y, 2)]) == 2


def test_exact_areas_add_up_exactly(monkeypatch):
    cells = []
    monkeypatch.setattr(
        "deephochuli.pieces._plane.exact_cells",
        lambda *given: cells.extend(exact_cells(*given)) or cells,
    )
    plane(net(6, 2, seed=5), *CORNERS, exact=True)
    assert len(cells) > 20
    assert sum(cell.area for cell in cells) == 1
