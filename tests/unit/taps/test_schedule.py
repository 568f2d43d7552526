"""Which steps are looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deephochuli.errors import TapError
from deephochuli.taps import parse_schedule

CHOSEN = {
    "every": (7, [0, 7, 14, 21, 28]),
    "text": (" 10 ", [0, 10, 20]),
    "log": ("log", [*range(10), 10, 20]),
    "ranges": ("0:3, 10:20:5", [0, 1, 2, 10, 15]),
    "overlap": ("0:3,2:5", [0, 1, 2, 3, 4]),
    "open": ("27:", [27, 28, 29]),
    "open every": ("3::10", [3, 13, 23]),
    "from the start": (":2", [0, 1]),
    "collection": ([3, 1, 3], [1, 3]),
    "numbers from a range": (range(0, 10, 4), [0, 4, 8]),
    "function": (lambda step: step in (4, 5) or None, [4, 5]),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_chosen_steps(name):
    spec, expected = CHOSEN[name]
    is_chosen = parse_schedule(spec)
    assert [step for step in range(30) if is_chosen(step)] == expected
    assert {type(is_chosen(step)) for step in range(30)} == {bool}


@given(st.integers(0, 10**12))
def test_log_chooses_round_numbers(step):
    assert parse_schedule("log")(step) == (set(str(step)[1:]) <= {"0"})


@given(st.integers(1, 10**6), st.integers(0, 10**9))
def test_every_is_divisibility(n, step):
    assert parse_schedule(n)(step) == parse_schedule(str(n))(step) == (step % n == 0)


@pytest.mark.parametrize(
    "spec", [0, -1, True, "0", "", "x", "1:2:3:4", "5:5", "9:3", "1:9:0", "3,4", "-1:3", "1.5", "²"]
)
def test_what_chooses_no_step_or_cannot_be_read(spec):
    with pytest.raises(TapError, match="Expected a number n"):
        parse_schedule(spec)


@pytest.mark.parametrize("spec", [1.5, None, [], [-1], ["a"], {"x"}])
def test_what_is_no_schedule(spec):
    with pytest.raises(TapError, match="Expected a number n"):
        parse_schedule(spec)
