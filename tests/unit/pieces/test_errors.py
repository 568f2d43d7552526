"""Bounds on errors against errors as large as they allow, and against rationals."""

from fractions import Fraction

import numpy as np
import pytest

from deephochuli.pieces import _crossings as crossings
from deephochuli.pieces._affine import Dense
from deephochuli.pieces._bend import bent
from deephochuli.pieces._bends import Elementwise, Maximum
from deephochuli.pieces._events import none
from deephochuli.pieces._exactness import Grain
from deephochuli.pieces._insert import put
from deephochuli.pieces._moves import Prepared, moved
from deephochuli.pieces._norms import norms_of
from deephochuli.pieces._program import Step
from deephochuli.pieces._state import Insertion, State, Value
from deephochuli.pieces._walk import Trail, together

RELU = Elementwise(np.zeros(1), np.array([[0.0], [1.0]]), 0.0, 1)


def fractions(numbers):
    return [Fraction(float(v)) for v in numbers]


def size(numbers):
    """2-norm of rationals, rounded at the end."""
    return float(sum(v * v for v in numbers)) ** 0.5


def dense(seed, n=6):
    rng = np.random.default_rng(seed)
    return Dense(rng.standard_normal((n, n)), rng.standard_normal(n))


def step_of(op):
    return Prepared(Step(op, (0,), 1, ""), norms_of(op), Grain(op))


def far_off(op, value):
    """What an affine step errs by, in rationals."""
    found = moved(step_of(op), op, [value])
    errors = []
    for x, y in zip(value.rows, found.rows, strict=True):
        truth = [
            sum((w * v for w, v in zip(fractions(ws), fractions(x), strict=True)), Fraction(b))
            for ws, b in zip(op.weight, op.bias.tolist(), strict=True)
        ]
        errors.append([Fraction(float(v)) - t for v, t in zip(y, truth, strict=True)])
    return found, errors


@pytest.mark.parametrize("seed", range(3))
def test_an_affine_step_errs_by_less_than_its_bounds_and_says_when_it_errs(seed):
    op = dense(seed)
    x = np.random.default_rng(seed + 9).standard_normal((8, 6))
    x[0] = 0.0
    x[1] = [1, 0, 0, 0, 0, 0]
    found, errors = far_off(op, Value(x, np.zeros(8)))
    units = np.arange(6)
    for r, row in enumerate(errors):
        assert size(row) <= found.error[r]
        bound = found.error_at(np.full(6, r), units)
        assert (np.abs(np.array(row, dtype=float)) <= bound).all()
    assert sum(any(row) for row in errors) > 4  # or nothing is tested


@pytest.mark.parametrize("seed", range(3))
def test_an_affine_step_passes_on_the_worst_error_that_its_input_can_have(seed):
    op = dense(seed)
    x, error = np.ones((1, 6)), np.full(1, 1e-6)
    found = moved(step_of(op), op, [Value(x, error)])
    _, values, turned = np.linalg.svd(op.weight)
    assert 1e-6 * values[0] <= found.error[0] <= 1.1e-6 * values[0]
    off = op.weight @ (1e-6 * turned[0])
    assert np.linalg.norm(off) <= found.error[0]
    for j in range(6):
        worst = 1e-6 * np.linalg.norm(op.weight[j])  # the error along the unit's own weights
        bound = found.error_at(np.array([0]), np.array([j]))[0]
        assert worst <= bound <= 1.01 * worst


@pytest.mark.parametrize("slope", [2.0, 0.25])
def test_a_bend_passes_on_the_worst_error_that_its_input_can_have(slope):
    op = Elementwise(np.zeros(1), np.array([[0.0], [slope]]), 0.0, 3)
    value = Value(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]), np.full(2, 1e-6))
    _, out, _ = bent(start(value), op, 0, 0, 100)
    assert (out.error >= slope * 1e-6).all()
    assert (out.error <= slope * 1.001e-6).all()


def test_a_bend_that_rounds_says_so():
    op = Elementwise(np.array([0.1]), np.array([[0.3], [0.7]]), 0.03, 3)
    z = np.random.default_rng(0).standard_normal((5, 3)) + 9
    out = bent(start(Value(z, np.full(5, 1e-300))), op, 0, 0, 100)[1]
    top, knot, first = Fraction(0.7), Fraction(0.1), Fraction(0.03)
    for r, row in enumerate(z):
        truth = [first + top * (v - knot) for v in fractions(row)]
        off = size([a - b for a, b in zip(fractions(out.rows[r]), truth, strict=True)])
        assert 0 < off <= out.error[r]


@pytest.mark.parametrize(("slope", "rounds"), [(-1.0, False), (0.0, False), (0.1, True)])
def test_a_slope_of_one_zero_or_minus_one_rounds_no_number(slope, rounds):
    op = Elementwise(np.zeros(1), np.array([[slope], [1.0]]), 0.0, 3)
    z = np.random.default_rng(0).standard_normal((5, 3)) - 9
    out = bent(start(Value(z, np.zeros(5))), op, 0, 0, 100)[1]
    assert (out.error > 0).tolist() == [rounds] * 5
    assert (out.error == 0).all() or (out.error < 1e-13).all()


def start(value):
    n = len(value.rows)
    origin = np.full(n, -1, np.int32)
    return State(np.linspace(0, 1, n), np.ones(n, dtype=bool), origin, origin, {0: value})


def test_rows_put_in_err_by_less_than_their_bounds():
    x = np.random.default_rng(1).standard_normal((2, 4))
    lam = np.random.default_rng(2).uniform(size=20)
    lam.sort()
    value = Value(x, np.array([0.0, 1e-300]))
    found = value.inserted(Insertion(np.zeros(20, np.int64), lam))
    n_off = 0
    for row, error, share in zip(found.rows[1:-1], found.error[1:-1], fractions(lam), strict=True):
        ends = zip(fractions(x[0]), fractions(x[1]), strict=True)
        truth = [(1 - share) * a + share * b for a, b in ends]
        off = size([a - b for a, b in zip(fractions(row), truth, strict=True)])
        n_off += off > 1e-299
        assert off <= error
    assert n_off > 10


def test_a_row_put_in_has_the_larger_error_of_both_ends_whichever_that_is():
    for error in ([1e-6, 1e-9], [1e-9, 1e-6]):
        value = Value(np.ones((2, 3)), np.array(error))
        found = value.inserted(Insertion(np.zeros(1, np.int64), np.array([0.5])))
        assert 1e-6 <= found.error[1] <= 1.001e-6


def test_a_row_between_exact_ones_is_exact_only_where_nothing_is_rounded():
    value = Value(np.array([[0.0, 1.0], [1.0, 3.0]]), np.zeros(2))
    lam = np.array([0.1, 0.5])
    found = value.inserted(Insertion(np.zeros(2, np.int64), lam))
    assert (found.error == 0).tolist() == [True, False, True, True]


def test_numbers_that_are_set_err_by_as_much_as_they_moved():
    value = Value(np.array([[3.0, 4.0], [1.0, 1.0]]), np.array([0.5, 0.0]))
    found = put(value, np.array([0, 0]), np.array([0, 1]), np.zeros(2))
    assert found.error.tolist() == [5.5, 0.0]
    assert found.rows.tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_an_event_holds_the_bend_of_every_line_that_the_errors_allow():
    """Lines through the ends of all bounds: an interval half as wide would leave them out."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = -rng.uniform(0.1, 1), rng.uniform(0.1, 1)
        error = 2.0**-20
        value = Value(np.array([[a], [b]]), np.full(2, error))
        found = crossings.events(start(value), value, crossings.look(value, RELU, 0))
        assert (found.left.tolist(), found.right.tolist()) == ([-1], [1])
        for shift in (-error, error):
            place = -(a + shift) / (b - a)
            assert found.low[0] <= place <= found.high[0]
        assert found.high[0] - found.low[0] <= 2.001 * error / (b - a)


def test_an_event_at_a_row_reaches_to_where_the_side_is_known_again():
    error = 2.0**-20
    value = Value(np.array([[-1.0], [error / 2], [1.0]]), np.full(3, error))
    found = crossings.events(start(value), value, crossings.look(value, RELU, 0))
    event = found.chosen(found.unit == 0)
    assert (event.left.tolist(), event.right.tolist()) == ([-1], [1])
    # Where the lines between the rows, less or more by the whole bound, meet zero:
    assert event.low[0] <= 0.5 * (1 - error) / (1 + error / 2)
    assert event.high[0] >= 0.5 + 0.5 * (error / 2) / (1 - error / 2)


def test_a_number_within_its_bound_of_the_knot_has_no_known_side():
    error = 2.0**-20
    for share, n_open in ((0.99, 1), (1.01, 0)):
        value = Value(np.array([[-1.0], [-share * error]]), np.full(2, error))
        found = crossings.events(start(value), value, crossings.look(value, RELU, 0))
        assert (found.right == 0).sum() == n_open


def test_a_takeover_holds_the_place_of_every_pair_of_lines_that_the_errors_allow():
    from deephochuli.pieces._envelope import maximal

    rng = np.random.default_rng(4)
    op = Maximum(np.array([[0, 1]]))
    error = 2.0**-20
    for _ in range(20):
        a, b = rng.uniform(0.1, 1, 2)
        value = Value(np.array([[a, 0.0], [0.0, b]]), np.full(2, error))
        found = maximal(start(value), op, 0, 0, 100)[2]
        assert len(found) == 1
        for shift in (-2 * error, 2 * error):
            place = (a + shift) / (a + b)
            assert found.low[0] <= place <= found.high[0]


def test_jumps_of_a_unit_on_a_knot_are_those_of_both_sides_and_their_bound_holds():
    """z is a kink on its knot: s+ z'+ - s- z'-, with every error that the rows may have."""
    error = 2.0**-20
    rows = np.array([[-1.0], [0.0], [3.0]])
    jump = np.array([[0.0], [4.0], [0.0]])
    state = State(np.array([0.0, 0.5, 1.0]), np.ones(3, bool), *[np.full(3, -1, np.int32)] * 2, {})
    leaky = Elementwise(np.zeros(1), np.array([[0.25], [1.0]]), 0.0, 1)
    for off in (0.0, error):
        value = Value(rows, np.full(3, off), None, False, jump, np.full(3, off))
        state.values[0] = value
        out = bent(state, leaky, 0, 0, 100)[1]
        assert out.jump[:, 0].tolist() == [0.0, 1.0 * 6 - 0.25 * 2, 0.0]
        # The largest change: the rows beside move by the error, away from the knot.
        assert out.jump_error[1] >= (1.0 + 0.25) * off / 0.5


def test_numbers_put_on_a_knot_err_by_as_much_as_they_moved():
    tiny = 2.0**-52
    rows = np.array([[-1.0, 1.0], [3 * tiny, -4 * tiny], [1.0, -1.0]])
    value = Value(rows, np.full(3, 2.0**-40), Value(np.ones((3, 2)), np.ones(3)).entry_bound())
    found = crossings.snapped(value, crossings.look(value, RELU, 0))
    assert found.rows[1].tolist() == [0.0, 0.0]
    assert found.error[1] == 2.0**-40 + 5 * tiny
    assert value.rows[1].any()  # the old ones are as they were


def test_an_event_at_a_row_reaches_as_far_as_the_larger_bound_of_both_ends():
    near, far = 2.0**-20, 2.0**-10
    value = Value(np.array([[-1.0], [0.0], [1.0]]), np.array([far, near, far]))
    found = crossings.events(start(value), value, crossings.look(value, RELU, 0))
    event = found.chosen(found.unit == 0)
    # Between two rows the model may err by as much as at the worse one.
    assert event.low[0] <= 0.5 * (1 - far)
    assert event.high[0] >= 0.5 * (1 + far)


def test_rows_of_a_neighbouring_part_make_no_events():
    value = Value(np.array([[-1.0], [0.0], [1.0]]), np.full(3, 2.0**-20))
    state = start(value)
    for is_own in (True, False):
        state.is_own[1] = is_own
        found = crossings.events(state, value, crossings.look(value, RELU, 0))
        assert len(found) == is_own


def test_parts_together_err_by_as_much_as_the_worse_of_them():
    nothing, no_unit = np.zeros(0), np.zeros(0, np.int32)
    parts = [
        Trail(nothing, no_unit, no_unit, nothing, nothing, none(), error, 1.0)
        for error in (1.0, 2.0)
    ]
    assert together(*parts).error == together(*parts[::-1]).error == 2.0
