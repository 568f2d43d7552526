"""What events and jumps prove, and what they leave open: small cases by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.pieces._affine import Conv, Dense
from deephochuli.pieces._assembly import assembled
from deephochuli.pieces._certificate import Clusters, clusters
from deephochuli.pieces._events import connected, none
from deephochuli.pieces._exact import ExactWalker
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._functions import HANDLERS
from deephochuli.pieces._norms import U, norms_of
from deephochuli.pieces._trace import trace
from deephochuli.pieces._walk import Trail
from tests.unit.pieces.nets import linear
from tests.unit.pieces.test_bounds import events, matrix_of


def test_events_that_touch_in_one_place_may_be_one_bend():
    found = clusters(events((0.1, 0.2, 1, 0, -1, 1), (0.2, 0.3, 1, 1, -1, 1)))
    assert (found.least.tolist(), found.most.tolist()) == ([1], [2])


def test_a_long_event_holds_all_that_lies_in_it():
    rows = ((0.1, 0.9, 1, 0, 0, 0), (0.2, 0.3, 1, 1, -1, 1), (0.5, 0.6, 1, 2, -1, 1))
    found = clusters(events(*rows))
    assert (found.low.tolist(), found.high.tolist()) == ([0.1], [0.9])
    assert (found.least.tolist(), found.most.tolist()) == ([2], [3])


def test_open_events_of_one_unit_that_do_not_touch_are_two():
    apart = events((0.1, 0.2, 1, 0, -1, 0), (0.3, 0.4, 1, 0, 0, 1))
    assert len(connected(apart)) == 2


def found_of(jump, bound, *, t=(0.5,), most=(1.0,)):
    """What is made of bends with these jumps, in clusters around 0.5 that hold so many."""
    n = len(t)
    number = np.zeros(n, np.int32)
    trail = Trail(np.array(t), number, number, np.array(jump), np.array(bound), none(), 0.0, 1.0)
    known = np.array(most)
    edges = np.linspace(0.4, 0.6, len(most) + 1)
    return assembled(trail, Clusters(edges[:-1], edges[1:] - 1e-3, known, known))


@pytest.mark.parametrize(
    ("jump", "bound", "least", "most"),
    [(0.3, 0.2, 2, 2), (0.1, 0.2, 1, 2), (0.0, 0.0, 1, 1), (0.0, 0.1, 1, 2)],
)
def test_a_bend_is_a_piece_for_sure_only_beyond_the_error_of_its_jump(jump, bound, least, most):
    found = found_of([jump], [bound])
    assert (found.pieces.low, found.pieces.high) == (least, most)
    assert (found.regions.low, found.regions.high) == (2, 2)
    assert len(found.open_low) == (least != most)


def test_bends_beyond_the_known_number_are_rounding_errors():
    found = found_of([1.0, 1.0], [0.0, 0.0], t=(0.5, 0.5 + 1e-9))
    assert found.t.tolist() == [0.5]


@pytest.mark.parametrize(("gap", "is_clear"), [(2.0**-50, False), (2.0**-36, True)])
def test_a_gap_as_narrow_as_the_errors_of_places_is_no_clear_place(gap, is_clear):
    one = np.ones(2)
    trail = Trail(np.zeros(0), *np.zeros((2, 0), np.int32), *np.zeros((2, 0)), none(), 0.0, 1.0)
    known = Clusters(np.array([0.25, 0.5 + gap]), np.array([0.5, 0.75]), one, one)
    places = assembled(trail, known).clear
    between = places[(places > 0.4) & (places < 0.6)]
    assert len(between) == is_clear


def test_products_that_underflow_are_not_exact():
    op = Dense(np.array([[2.0**-600]]), np.zeros(1))
    x = np.array([[3 * 2.0**-500], [3 * 2.0**-300]])
    assert Grain(op).is_exact([x]).tolist() == [False, True]


@pytest.mark.parametrize("n", [1, 17, 200])
def test_the_rounding_of_a_sum_grows_with_its_length(n):
    assert norms_of(Dense(np.ones((2, n)), np.ones(2))).gamma >= n * U
    conv = Conv(np.ones((1, 1, n)), np.ones(1), (1, 300), (1,), (0,), (1,), 1)
    assert norms_of(conv).gamma >= n * U


def test_windows_that_overlap_by_one_enlarge_an_error_more_than_windows_that_do_not():
    op = Conv(np.ones((1, 1, 3)), np.zeros(1), (1, 41), (2,), (0,), (1,), 1)
    matrix = np.abs(matrix_of(op, 41))
    assert np.linalg.norm(matrix, 2) <= norms_of(op).frobenius


def test_of_units_that_bend_at_one_place_the_first_is_named():
    model = nn.Sequential(
        *(linear([[-1.0], [3.0], [1.0]], [0.25, -0.75, -0.75]), nn.ReLU()),
        linear([[1.0, 1.0, 1.0]], [0.0]),
    )
    ends = np.array([[0.0], [1.0]])
    program = trace(model, torch.as_tensor(ends), None, HANDLERS)
    bends = ExactWalker(program, ends).bends(0.0, 1.0)
    assert [(each.t, each.unit) for each in bends] == [(Fraction(1, 4), 0), (Fraction(3, 4), 2)]
    assert [each.jump for each in bends] == [4, 1]
