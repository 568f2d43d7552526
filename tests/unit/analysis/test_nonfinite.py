"""Where the first infinity or NaN was born."""

import torch

from deephochuli.analysis import findings
from deephochuli.analysis.nonfinite import births
from runs import tap, write_run

FINE, BAD = torch.ones(4, 4), torch.tensor([[1.0, float("inf")], [float("nan"), 2.0]])


def test_order_is_forward_then_backward_in_reverse_then_weights(tmp_path):
    rows = [
        tap("late", "z", BAD, order=5),
        tap("early", "z", FINE, order=1),
        tap("early", "dz", BAD, order=1),
        tap("late", "dz", BAD, order=5),
        tap("early.weight", "w", BAD, order=0, role="weight"),
        tap("early.weight", "g", BAD, order=0, role="weight"),
    ]
    run = write_run(tmp_path / "run", [rows])
    found = [(b.series.info.layer, b.series.info.quantity) for b in births(run)]
    assert found == [
        ("late", "z"),
        ("late", "dz"),
        ("early", "dz"),
        ("early.weight", "g"),
        ("early.weight", "w"),
    ]


def test_the_earliest_step_wins(tmp_path):
    steps = [
        [tap("a", "z", FINE, order=1), tap("b", "z", FINE, order=2)],
        [tap("a", "z", FINE, order=1), tap("b", "z", BAD, order=2)],
        [tap("a", "z", BAD, order=1), tap("b", "z", BAD, order=2)],
    ]
    (found,) = findings(write_run(tmp_path / "run", steps))
    assert (found.kind, found.level) == ("non-finite", "critical")
    assert (found.layer, found.step_first) == ("b", 1)
    assert [number.value for number in found.numbers] == [1, 1, 2]


def test_overflow_in_skipped_steps_is_a_note_that_names_the_tensor(tmp_path):
    steps = [[tap("a.weight", "g", FINE)], [tap("a.weight", "g", BAD)]]
    (found,) = findings(write_run(tmp_path / "run", steps, skipped=[1]))
    assert (found.kind, found.level, found.layer) == ("skipped-steps", "note", "a.weight")
