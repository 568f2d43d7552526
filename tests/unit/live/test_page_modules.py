"""What the page's own modules decide, run in node."""

import math

from deephochuli.report import shortened
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


def test_the_mark_counts_the_runs_of_which_there_is_more_to_say():
    def notes(*runs):
        return ("notesText", [[{"phase": phase, "note": note} for phase, note in runs]])

    calls = [
        notes(("ended", ""), ("recording", "No step yet."), ("waiting", "No folder yet.")),
        notes(("ended", "An error."), ("recording", "")),
        notes(("ended", "An error."), ("interrupted", "Killed.")),
    ]
    assert call_all("live_mark", calls) == ["", " · 1 note", " · 2 notes"]


def test_names_that_differ_in_the_middle_stay_different_when_they_must_be_short():
    path = "model.language_model.layers.{}.self_attn.{}_proj.weight"
    names = [path.format(i, what) for i in range(40) for what in "qkvo"]
    short = call_all("dom", [("shortened", [name, 28]) for name in names])
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= 28
    assert short[0] == "m.lm.l.0.sa.q_proj.weight" == shortened(names[0], 28)
    assert short == [shortened(name, 28) for name in names]


def test_other_names_are_cut_in_the_middle():
    names = ("layer1.conv2", "weight" * 4, "a." + "b" * 30, "From 0.5 to 1.5, in all layers.")
    short = call_all("dom", [("shortened", [name, 12]) for name in names])
    assert short == ["layer1.conv2", "weigh…weight", "a.bbb…bbbbbb", "From …ayers."]
    assert short == [shortened(name, 12) for name in names]


def test_of_very_many_rows_some_are_named_and_the_chosen_one():
    calls = [("labelledRows", args) for args in ([4, 22, 1], [5, 7, -1], [5, 7, 3], [9, 3, 4])]
    assert call_all("heatmap", calls) == [[0, 1, 2, 3], [0, 2, 4], [0, 3], [0, 4]]
    rows = [
        found["row"]
        for found in call_all("heatmap", [("layout", [1200, 1, 0, n]) for n in (1, 60, 300, 2000)])
    ]
    assert rows == [22, 560 / 60, 7, 2]


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
