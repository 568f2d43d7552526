"""Regions on a plane: known cases, batches, polygons, sheets, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.analysis.pieces import sheet_of_plane
from deephochuli.errors import PiecesError
from deephochuli.pieces import plane
from tests.unit.pieces.planar import hat, net

CORNERS = [torch.tensor(v) for v in ([-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0])]


def test_one_map_on_two_sides_makes_two_pieces():
    found = plane(hat(), *CORNERS)
    assert found.n_regions == 4
    assert (found.pieces.low, found.pieces.high) == (4, 4)
    np.testing.assert_allclose(found.areas, [0.25] * 4)


def test_a_dead_last_layer_is_one_piece_of_many_regions():
    model = net(16, 2)
    with torch.no_grad():
        model[-1].weight.zero_()
    found = plane(model, *CORNERS)
    assert found.n_regions > 50
    assert found.pieces.high == 1


@pytest.mark.parametrize("most_bytes", [1, 100_000])
def test_batches_change_nothing(most_bytes):
    model = nn.Sequential(net(12, 2), nn.Flatten(), nn.Linear(1, 6), nn.Hardtanh(), nn.Linear(6, 1))
    told = []
    whole = plane(model, *CORNERS)
    parts = plane(model, *CORNERS, most_bytes=most_bytes, report=lambda *now: told.append(now))
    assert parts.n_regions == whole.n_regions == told[-1][1]
    np.testing.assert_allclose(np.sort(parts.areas), np.sort(whole.areas), atol=1e-15)
    assert told[-1][0] == pytest.approx(1)
    assert len(told) > 3


def test_a_polygon_is_parted_as_the_square_that_holds_it():
    model = net(16, 3)
    half = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    other = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))  # clockwise
    parts = [plane(model, *CORNERS, polygon=each) for each in (half, other)]
    assert [part.area for part in parts] == pytest.approx([0.5, 0.5], abs=1e-12)
    whole = plane(model, *CORNERS)
    cut = sum(
        np.ptp(np.sign(whole.polygon(i).sum(axis=1) - 1)) == 2 for i in range(whole.n_regions)
    )
    assert parts[0].n_regions + parts[1].n_regions == whole.n_regions + cut


def test_a_convolution_with_max_pooling_is_what_it_is_at_every_place():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4), nn.ReLU()
    ).double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    found = plane(model, *x)
    assert found.areas.sum() == pytest.approx(1, abs=1e-12)
    for i in np.random.default_rng(0).choice(found.n_regions, 30, replace=False):
        a, b = found.polygon(i).mean(axis=0)
        with torch.no_grad():
            truth = model((x[0] + a * (x[1] - x[0]) + b * (x[2] - x[0]))[None])[0].numpy()
        np.testing.assert_allclose([1, a, b] @ found.maps[i], truth, atol=1e-12)


def test_the_sheet_shows_every_region_once():
    found = plane(net(8, 2), *CORNERS)
    sheet = sheet_of_plane(found)
    assert str(found.n_regions) in sheet.answer
    (figure,) = sheet.figures
    assert sum(series.x.count(None) for series in figure.series) == found.n_regions
    assert str(found).startswith(f"{found.n_regions} regions")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x2": torch.tensor([3.0, -1.0])}, "lie on one line"),
        ({"x2": torch.tensor([3.0])}, r"different shapes: \(2,\) and \(2,\) and \(1,\)"),
        ({"x2": torch.tensor([3.0, torch.nan])}, "NaN"),
        ({"polygon": ((0.0, 0.0), (1.0, 0.0))}, "three places"),
        ({"polygon": ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))}, "not convex"),
        ({"polygon": ((0.0, 0.0), (2.0, 0.0), (0.5, 0.5), (0.0, 2.0))}, "not convex"),
        ({"polygon": ((0.0, 0.0), (1.0, 0.0), (0.0, float("inf")))}, "NaN or infinity"),
    ],
)
def test_what_is_no_plane_is_refused(change, says):
    corners = dict(zip(("x0", "x1", "x2"), CORNERS, strict=True))
    with pytest.raises(PiecesError, match=says):
        plane(net(4, 1), **(corners | change))
