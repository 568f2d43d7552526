"""Events, rows and jumps of a maximum, of lines whose takeovers are worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from deephochuli.pieces._bends import Maximum
from deephochuli.pieces._envelope import maximal, takeovers
from deephochuli.pieces._norms import lipschitz
from deephochuli.pieces._state import Entries, State, Value

THREE = Maximum(np.array([[0, 1, 2]]))
ERROR = 1e-6
CLEAR = ([1.0, 0.0, 0.4], [0.0, 1.0, 0.4])
"""The first line falls, the second rises, the third lies below both where they meet."""


def state_of(value, own=(True, True)):
    n = len(value.rows)
    origin = np.full(n, -1, np.int32)
    return State(np.linspace(0, 1, n), np.array(own), origin, origin, {0: value})


def known(rows, error=ERROR, op=THREE, own=(True, True), **others):
    """What is known of the maximum of lines by their values at both ends."""
    value = Value(np.array(rows), np.full(2, error), **others)
    found = maximal(state_of(value, own), op, 5, 0, 1000)
    assert found is not None
    return found[2]


def is_open(events):
    """Whether one event fills the cell, with a bend for each of the other candidates."""
    sides = (events.left.tolist(), events.right.tolist(), events.weight.tolist())
    whole = len(events) == 1 and events.low[0] <= 0 and events.high[0] >= 1
    return whole and sides == ([0], [0], [2])


def test_a_takeover_that_is_clear_is_one_event_about_its_place():
    events = known(CLEAR)
    assert (events.left.tolist(), events.right.tolist()) == ([-1], [1])
    assert (events.weight.tolist(), events.step.tolist(), events.unit.tolist()) == ([1], [5], [0])
    assert 0.499 < events.low[0] <= 0.5 - ERROR
    assert 0.5 + ERROR <= events.high[0] < 0.501


@pytest.mark.parametrize("at", ["left", "right"])
def test_candidates_that_are_close_at_an_end_leave_the_cell_open(at):
    near, far = [0.0, -1e-7, -3.0], [9.0, 1.0, 2.0]
    events = known([near, far] if at == "left" else [far, near])
    assert is_open(events)


@pytest.mark.parametrize(("below", "expected"), [(1e-7, True), (1.5e-6, True), (1e-3, False)])
def test_a_third_candidate_where_two_meet_leaves_the_cell_open(below, expected):
    events = known([[1.0, 0.0, 0.5 - below], [0.0, 1.0, 0.5 - below]])
    assert is_open(events) == expected
    assert len(events) == 1


def test_a_cell_of_another_chunk_is_not_spoken_of():
    assert len(known(CLEAR, own=(False, True))) == 0
    assert len(known([[0.0, -1e-7, -3.0], [9.0, 1.0, 2.0]], own=(False, True))) == 0


def test_outputs_that_choose_between_the_same_two_bend_together():
    twice = Maximum(np.array([[0, 1, 2], [1, 0, 2], [0, 2, 2]]))
    events = known(CLEAR, op=twice)
    assert events.unit.tolist() == [0, 2]


def test_zeros_behind_a_relu_are_equal_and_others_may_not_be():
    rows = [[0.0, 0.0, -9.0], [0.0, 0.0, -9.0]]
    assert is_open(known(rows))
    assert len(known(rows, has_exact_zeros=True)) == 0


def test_equal_candidates_of_exact_rows_are_equal():
    rows = [[2.0, 2.0, -9.0], [3.0, 3.0, -9.0]]
    entries = Entries(np.full(2, ERROR), np.ones(1), np.zeros(1), np.ones(2), np.zeros(1))
    assert len(known(rows, error=0.0, entries=entries)) == 0
    assert is_open(known(rows, error=1e-9, entries=entries))


def followed(*lines):
    """Places and numbers of takeovers of lines by their values at both ends."""
    numbers = np.array(lines).T[:, None]
    found = takeovers(numbers)
    return list(zip(found.lam.tolist(), found.before.tolist(), found.behind.tolist(), strict=True))


def test_takeovers_follow_the_largest_line():
    assert followed((1.0, 0.0), (0.0, 1.0)) == [(0.5, 0, 1)]
    assert followed((1.0, 0.0), (0.0, 1.0), (0.75, 0.75)) == [(0.25, 0, 2), (0.75, 2, 1)]
    # Lines that meet in one place: the steepest takes over, once; at an end, without a takeover.
    assert followed((1.0, 0.0), (0.0, 1.0), (-1.0, 2.0)) == [(0.5, 0, 2)]
    assert followed((0.0, 1.0), (0.0, 2.0)) == []
    assert followed((1.0, -np.inf), (0.0, -np.inf)) == []


def test_at_rows_that_were_put_in_both_candidates_have_the_same_bits():
    differ = 0
    for seed in range(20):
        first, second = np.random.default_rng(seed).uniform(0.1, 1, (2, 2))
        rows = np.array([[first[0], first[0] - 0.1, -9.0], [second[0] - 0.1, second[0], -9.0]])
        found = maximal(state_of(Value(rows, np.full(2, ERROR))), THREE, 0, 0, 1000)
        assert found is not None
        after, out, _ = found
        z = after.values[0].rows
        assert z[1, 0] == z[1, 1] == out.rows[1, 0]
        assert len(after) == 3
        gaps = rows[0, 0] - rows[0, 1], rows[1, 1] - rows[1, 0]
        lam = gaps[0] / (gaps[0] + gaps[1])
        assert after.t[1] == pytest.approx(lam, rel=1e-15)
        line = rows[0] + lam * (rows[1] - rows[0])
        differ += line[0] != line[1]
    assert differ > 0  # or interpolation alone gives the same bits


def jumps(fresh):
    """0 and a line through 0 in the middle, of which the second unit bends there before."""
    rows = np.array([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
    jump, error = np.zeros((3, 2)), np.zeros(3)
    if not fresh:
        rows[0, 1] = -0.75  # slope 1.5, then 2
        jump[1], error[1] = [0.0, 0.5], 1e-9
    value = Value(rows, np.full(3, ERROR), None, False, jump, error)
    op = Maximum(np.array([[0, 1]]))
    found = maximal(state_of(value, (True,) * 3), op, 0, 0, 1000)
    assert found is not None
    return found[1], op


def test_a_takeover_of_its_own_jumps_by_the_difference_of_the_slopes_and_is_sure():
    out, _ = jumps(fresh=True)
    assert out.jump.ravel().tolist() == [0.0, 2.0, 0.0]
    assert out.jump_error.tolist() == [0.0, 0.0, 0.0]


def test_a_takeover_where_a_unit_bends_already_is_as_unsure_as_the_slopes():
    out, op = jumps(fresh=False)
    assert out.jump.ravel().tolist() == [0.0, 2.0, 0.0]
    both_ends = 2 * ERROR / 0.5
    assert out.jump_error[1] >= lipschitz(op) * 1e-9 + both_ends
    assert out.jump_error[1] < 1e-4
    assert out.jump_error[[0, 2]].tolist() == [0.0, 0.0]


def test_a_value_that_overlapping_windows_share_counts_twice():
    overlapping = Maximum(np.array([[0, 1], [1, 2]]))
    rows = np.array([[0.0, 5.0, 0.0], [0.0, 6.0, 0.0]])
    value = Value(rows, np.full(2, ERROR))
    off = replace(value, rows=rows + np.array([0.0, ERROR, 0.0]))
    change = overlapping.apply(off.rows) - overlapping.apply(rows)
    found = maximal(state_of(value), overlapping, 0, 0, 1000)
    assert found is not None
    assert (np.linalg.norm(change, axis=1) <= found[1].error * (1 + 1e-9)).all()


def test_a_takeover_where_a_bend_may_be_is_as_unsure_as_the_slopes():
    rows = np.array([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
    value = Value(rows, np.full(3, ERROR), None, False, np.zeros((3, 2)), np.array([0, 1e-9, 0]))
    op = Maximum(np.array([[0, 1]]))
    found = maximal(state_of(value, (True,) * 3), op, 0, 0, 1000)
    assert found is not None
    assert found[1].jump_error[1] >= lipschitz(op) * 1e-9 + 2 * ERROR / 0.5
