"""A slope such as 0.1 rounds every product, those of exact rows and of exact jumps as well."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from deephochuli.pieces import count, plane
from tests.unit.pieces.nets import linear

START, END = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
CORNERS = [torch.tensor(v, dtype=torch.float64) for v in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])]
FACTORS = range(3, 60, 4)


def missed(factor):
    """What 0.1 * factor, rounded, is above the product in real arithmetic."""
    return Fraction(0.1 * factor) - Fraction(0.1) * factor


def touching(factor, n_inputs=1):
    """0.1 factor (1 - x) but for a rounding of the offset: zero at 1, just before it, or never."""
    return nn.Sequential(
        *(linear([[-float(factor)] * n_inputs], [0.0]), nn.LeakyReLU(0.1)),
        *(linear([[1.0]], [0.1 * factor]), nn.ReLU(), linear([[1.0]], [0.0])),
    )


def cancelling(factor):
    """Two paths of one bend, with the slopes -0.1 factor and its rounding."""
    return nn.Sequential(
        *(linear([[1.0]], [-0.5]), nn.ReLU()),
        *(linear([[-float(factor)], [1.0]], [-1.0, 1.0]), nn.LeakyReLU(0.1)),
        linear([[1.0, 0.1 * factor]], [0.0]),
    )


def test_the_factors_miss_on_both_sides_and_hit():
    signs = {(missed(each) > 0) - (missed(each) < 0) for each in FACTORS}
    assert signs >= {-1, 1}


@pytest.mark.parametrize("exact", [False, True])
def test_a_product_of_an_exact_row_with_a_slope_is_rounded(exact):
    for factor in FACTORS:
        truth = 2 if missed(factor) < 0 else 1
        found = count(touching(factor), START, END, exact=exact)
        assert truth in found.regions
        assert found.is_certain or not exact


@pytest.mark.parametrize("exact", [False, True])
def test_a_product_of_an_exact_jump_with_a_slope_is_rounded(exact):
    for factor in FACTORS:
        truth = 2 if missed(factor) != 0 else 1
        found = count(cancelling(factor), START, END, exact=exact)
        assert found.n_regions == 2
        assert truth in found.pieces
        assert found.is_certain or not exact


def test_the_same_on_a_plane_is_an_open_decision():
    """The line that a rounding moves into the square cuts off its corner (1, 1)."""
    for factor in FACTORS:
        model = touching(factor, 2)
        model[2].bias.data *= 2
        found = plane(model, *CORNERS)
        assert found.n_close > 0 or found.n_regions == (2 if missed(factor) < 0 else 1)


@pytest.mark.parametrize("slope", [0.125, -1.0, 1.0, 0.0])
def test_a_slope_that_is_a_power_of_two_rounds_nothing(slope):
    """Dyadic numbers: the unit touches zero at the end, and two paths of one bend cancel."""
    model = nn.Sequential(
        *(linear([[1.0], [1.0]], [-0.5, 0.0]), nn.ReLU()),
        *(linear([[-3.0, 0.0], [1.0, 0.0]], [-1.0, 1.0]), nn.LeakyReLU(slope)),
        linear([[1.0, 3.0 * slope]], [0.0]),
    )
    found = count(model, START, END)
    assert found.is_certain
    assert (found.n_regions, found.n_pieces) == (2, 1)
