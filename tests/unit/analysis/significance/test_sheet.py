"""Sheets of significance and of drift: their numbers are those of the rows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deephochuli.analysis.significance import (
    BranchStability,
    Drift,
    LayerBits,
    Significance,
    drift_sheet,
)
from deephochuli.analysis.significance._sheet import MOST_PLACES, shares_below
from deephochuli.report import sheet_to_json


def bits(layer: str, quantity: str, median: float, **changes: object) -> LayerBits:
    made = LayerBits(
        layer=layer, quantity=quantity, format="fp32", precision=24, n_elements=100, n_followed=50,
        n_zero=10, n_nonfinite=0, n_resolution_limited=3, median=median,
        quantiles=(median - 4, median - 2, median + 1, median + 2), guaranteed=median - 1.5,
        agreed=median - 1, share_below=((1, 0.0), (2, 0.1), (4, 0.25), (8, 0.5), (16, 1.0)),
        bias=0.5,
    )  # fmt: skip
    return replace(made, **changes)


def branch(layer: str, share: float, kind: str = "relu") -> BranchStability:
    return BranchStability(layer, kind, 1000, 500, 20, 3, 5, share)


def result(*layers: LayerBits, branches: tuple[BranchStability, ...] = ()) -> Significance:
    return Significance(
        model="Net", n_samples=8, precision_bits=None, probability=0.95, confidence=0.95,
        penalty=1.82, bernoulli_probability=0.688, layers=layers, branches=branches,
        lost=("x:a",), findings=(),
    )  # fmt: skip


LAYERS = (
    *(bits("one", "a", 20.0), bits("two", "a", 12.0)),
    *(bits("two", "da", 18.0), bits("one", "da", 9.0), bits("one.weight", "g", 7.0)),
)
BRANCHES = (branch("one", 0.0), branch("two", 0.02), branch("output", math.nan, "argmax"))


def test_the_answer_names_the_worst_layer_of_each_quantity():
    answer = result(*LAYERS, branches=BRANCHES).sheet().answer
    assert "Outputs: 12.0 of 24 bits in the worst layer, 'two' (median, 10.5 guaranteed)." in answer
    assert "Gradients of outputs: 9.0 of 24 bits in the worst layer, 'one'" in answer
    assert "Gradients of weights: 7.0 of 24 bits" in answer
    assert "Up to 2 % of the decisions of a layer hang on rounding, in 'two' (relu)." in answer
    calm = result(*LAYERS, branches=BRANCHES[:1]).sheet().answer
    assert calm.endswith("No decision that was followed hangs on rounding.")


def test_the_tables_hold_every_row():
    layers, decisions = result(*LAYERS, branches=BRANCHES).sheet().tables
    for cells, truth in zip(layers.rows, LAYERS, strict=True):
        found = dict(zip(layers.columns, cells, strict=True))
        assert (found["layer"], found["quantity"], found["p"]) == (truth.layer, truth.quantity, 24)
        spread = (found["bits, 5 %"], found["25 %"], found["75 %"], found["95 %"])
        assert spread == truth.quantiles
        assert (found["bits, median"], found["guaranteed"]) == (truth.median, truth.guaranteed)
        assert (found["below 4 bits"], found["agree to the last bit"]) == (0.25, 3)
    assert decisions.rows[1] == ("two", "relu", 1000, 500, 20, 3, 5, 0.02)


def test_the_figures_draw_bits_with_their_spread_and_their_guarantee():
    figures = {f.key: f for f in result(*LAYERS, branches=BRANCHES).sheet().figures}
    assert list(figures) == ["forward", "backward", "shares", "decisions"]
    limit, estimated, guaranteed = figures["forward"].series
    assert (limit.mark, limit.y) == ("rule", (24.0,))
    assert (estimated.x, estimated.y) == (("one", "two"), (20.0, 12.0))
    assert (estimated.low, estimated.high) == ((18.0, 10.0), (21.0, 13.0))
    assert (guaranteed.y, guaranteed.dashed) == ((18.5, 10.5), True)
    names = [series.name for series in figures["backward"].series]
    assert names[1:] == [
        *("gradients of outputs", "gradients of outputs, guaranteed"),
        *("gradients of weights", "gradients of weights, guaranteed"),
    ]
    (relu,) = figures["decisions"].series
    assert (relu.name, relu.x, relu.y) == ("relu", ("one", "two"), (0.0, 0.02))


def test_shares_weigh_layers_by_their_elements_with_digits():
    many = bits("a", "a", 9.0, n_followed=70, share_below=((1, 0.5), (2, 1.0)))
    few = bits("b", "a", 9.0, n_followed=30, n_nonfinite=0, share_below=((1, 0.0), (2, 0.25)))
    none = bits("c", "a", math.nan, n_followed=10, share_below=((1, math.nan), (2, math.nan)))
    found = dict(shares_below((many, few, none)))
    assert found[1] == pytest.approx(60 * 0.5 / 80)
    assert found[2] == pytest.approx((60 + 20 * 0.25) / 80)
    assert shares_below((none,)) == ()


def test_of_many_layers_those_with_the_fewest_bits_are_drawn():
    many = [bits(f"l{i}", "a", 24.0 - i / 10) for i in range(MOST_PLACES + 9)]
    figure = result(*many).sheet().figures[0]
    assert figure.series[1].x == tuple(f"l{i}" for i in range(9, MOST_PLACES + 9))
    assert f"(the {MOST_PLACES} layers of {MOST_PLACES + 9} with the fewest)" in figure.title


def test_what_was_lost_is_said():
    notes = result(*LAYERS).sheet().notes
    assert notes[-1] == "Shapes changed between runs, nothing is said of: x:a."
    assert "the estimate minus 1.82 bits" in notes[1]


DRIFTS = (Drift("w", "g", 5, 1.5, 0.25, 6.0), Drift("v", "dw", 5, -0.1, 0.2, -0.5))


def test_a_drift_is_drawn_with_two_standard_errors():
    sheet = drift_sheet(DRIFTS)
    zero, means = sheet.figures[0].series
    assert (zero.mark, zero.y) == ("rule", (0.0,))
    assert (means.x, means.y) == (("w · g", "v · dw"), (1.5, -0.1))
    assert means.low == (1.0, -0.5)
    assert means.high == (2.0, pytest.approx(0.3))
    assert sheet.answer.startswith("1 of 2 tensors drift (|t| > 4); the largest t is 6.0, of 'w'")
    assert sheet.tables[0].rows[1] == ("v", "dw", 5, -0.1, 0.2, -0.5)


def test_every_sheet_can_be_shown():
    for found in (
        *(result(), result(*LAYERS, branches=BRANCHES), result(bits("a", "a", math.nan))),
        result(branches=BRANCHES[2:]),
    ):
        sheet_to_json(found.sheet())
    sheet_to_json(drift_sheet(DRIFTS))
    assert drift_sheet(()).answer == "No tensor was seen in all steps."
