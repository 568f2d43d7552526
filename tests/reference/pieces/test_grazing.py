"""Where float64 gets a sign wrong, the interval still holds the exact count."""

import pytest
import torch

from deephochuli.pieces import count
from tests.reference.pieces.grazing import cancelling, coincident, crowded, grazing
from tests.reference.pieces.walker import Net, walk

START, END = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)


def judged(layers):
    """The count, with what must hold of any count, and the truth: (count, regions, pieces)."""
    places, bends = walk(layers, [0.0], [1.0])
    found, truth = count(Net(layers), START, END), (len(places) + 1, len(bends) + 1)
    assert truth[0] in found.regions
    assert truth[1] in found.pieces
    return found, *truth


def decided(layers):
    found = count(Net(layers), START, END, exact=True)
    assert found.is_certain
    return found.n_regions, found.n_pieces


def test_units_that_end_in_a_rounding_are_open():
    wrong = 0
    for seed in range(6):
        layers = grazing(seed)
        found, *truth = judged(layers)
        wrong += found.n_regions != truth[0]
        assert not found.regions.is_certain
        assert decided(layers) == tuple(truth)
    assert wrong > 3  # or the nets would be no test


@pytest.mark.parametrize("disturbed", [False, True])
def test_paths_that_cancel_but_for_a_rounding_leave_a_bend_open(disturbed):
    for seed in range(6):
        layers = cancelling(seed, disturbed)
        found, *truth = judged(layers)
        assert truth == [2, 2 if disturbed else 1]
        assert (found.regions.low, found.regions.high) == (2, 2)
        assert (found.pieces.low, found.pieces.high) == (1, 2)
        assert decided(layers) == tuple(truth)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("far", [1e3, 1e6])
def test_units_of_two_layers_that_bend_at_one_place_may_be_one_bend(moved, far):
    for seed in range(4):
        layers = coincident(seed, moved, far)
        found, *truth = judged(layers)
        assert truth[0] == (7 if moved else 4)
        assert found.regions.low <= 4
        assert found.regions.high >= 7
        assert decided(layers) == tuple(truth)


def test_a_rounding_decides_whether_the_middle_one_of_three_lines_is_ever_the_largest():
    truths = set()
    for seed in range(6):
        layers = crowded(seed, 0.0)
        found, *truth = judged(layers)
        assert not found.regions.is_certain
        assert decided(layers) == tuple(truth)
        truths.add(truth[0])
    assert len(truths) > 1


def test_three_lines_one_after_the_other_are_two_bends_each():
    for seed in range(4):
        found, *truth = judged(crowded(seed, 0.02))
        assert truth == [7, 7]
        assert found.is_certain
