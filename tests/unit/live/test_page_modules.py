"""What the page's own modules decide, run in node."""

import math

from tests.unit.report.node import call_all


def test_failures_make_the_page_ask_less_often():
    delays = call_all("live_link", [("delayAfter", [failures]) for failures in (0, 1, 2, 3, 50)])
    assert delays == [1000, 2000, 4000, 8000, 30_000]


def test_a_run_keeps_its_place_in_the_view_when_others_join():
    view = {"run": 1, "base": 0, "shown": [1]}
    calls = [
        ("movedView", [view, [0, 2], [0, 2]]),
        ("movedView", [view, [1, 2], [0, 1, 2]]),
        ("movedView", [view, [0, 2], [0, 1, 2, 3]]),
    ]
    assert call_all("live_data", calls) == [
        {"run": 1, "base": 0, "shown": [1]},
        {"run": 2, "base": 1, "shown": [0, 2]},
        {"run": 2, "base": 0, "shown": [1, 2, 3]},
    ]


def test_the_mark_names_the_phase_that_says_most():
    def phase(*phases):
        return ("phaseOf", [[{"phase": each} for each in phases]])

    calls = [
        phase(),
        phase("ended", "recording", "waiting"),
        phase("ended", "waiting"),
        phase("ended", "interrupted", "unreadable"),
        phase("ended", "ended"),
        *(("spanOf", [seconds]) for seconds in (0.9, 59.9, 60, 3599, 3600, 7265)),
    ]
    assert call_all("live_mark", calls) == [
        *("waiting", "recording", "waiting", "interrupted", "ended"),
        *("0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 1 min"),
    ]


def test_an_update_waits_for_the_reader_but_not_for_ever():
    def rest(since_input, since_asked=0, *, pressed=False, in_list=False):
        return (
            "remaining",
            [
                {
                    "sinceInput": since_input,
                    "sinceAsked": since_asked,
                    "pressed": pressed,
                    "inList": in_list,
                }
            ],
        )

    calls = [
        rest(math.inf),
        rest(100),
        rest(400),
        rest(9e9, pressed=True),
        rest(1000, in_list=True),
        rest(6000, in_list=True),
        rest(0, 15_000, pressed=True, in_list=True),
    ]
    assert call_all("live_quiet", calls) == [0, 300, 0, 400, 4000, 0, 0]


def test_what_is_drawn_first_is_what_is_in_view():
    boxes = [(-900, -300), (-900, 10), (900, 1500), (1099, 3000), (1300, 3000)]
    calls = [("isNear", [{"top": top, "bottom": bottom}, 1000]) for top, bottom in boxes]
    assert call_all("schedule", calls) == [False, True, True, True, False]
