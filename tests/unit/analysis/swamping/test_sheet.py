"""The sheet of a swamping analysis: its numbers are those of the rows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deephochuli.analysis.swamping import Estimate, SumRow, Swamping
from deephochuli.analysis.swamping._sheet import MOST_PLACES
from deephochuli.report import sheet_to_json


def row(layer: str, order: str, share: float, **changes: object) -> SumRow:
    estimate = Estimate(share, share / 2, min(1.0, share * 2))
    made = SumRow(
        layer=layer, operator="aten.mm", sum="forward", direction="forward", order=order,
        format="fp32", n_addends=64, n_sums=1000, n_sampled=100, zero_share=0.25,
        absorbed=estimate, lost_mass=Estimate(share / 8, share / 16, share / 4), bits_lost=1.5,
        bits_lost_high=3.5, error=1e-8, n_underflowed=7, n_overflowed=0, growth=(),
    )  # fmt: skip
    return replace(made, **changes)


def result(*rows: SumRow, **changes: object) -> Swamping:
    made = Swamping(
        model="Net",
        arithmetic="",
        confidence=0.95,
        rows=rows,
        not_replayed=("attention",),
        findings=(),
    )
    return replace(made, **changes)


GROWTH = ((64, 0.15), (256, 0.3), (1024, 0.5))
ROWS = (
    row("a", "sequential", 0.125, growth=GROWTH),
    row("a", "pairwise", 0.0, absorbed=Estimate(0.0, 0.0, 0.03)),
    row("b", "sequential", 0.5),
    row("b", "pairwise", 0.0, absorbed=Estimate(0.0, 0.0, 0.01)),
)


def test_the_answer_names_the_worst_sum_of_each_order():
    answer = result(*ROWS).sheet().answer
    assert "Sequential: up to 50.0 % (25.0 % to 100.0 %)" in answer.replace("100 %", "100.0 %")
    assert "in the forward of 'b' (K = 64), with 6.25 % of the mass" in answer
    assert "Pairwise: no addition was absorbed (at most 3 %)." in answer


def test_the_tables_hold_every_row():
    sheet = result(*ROWS).sheet()
    sums, addends = sheet.tables
    assert len(sums.rows) == len(addends.rows) == len(ROWS)
    for cells, more, truth in zip(sums.rows, addends.rows, ROWS, strict=True):
        found = dict(zip(sums.columns, cells, strict=True))
        assert (found["layer"], found["order"], found["K"]) == (truth.layer, truth.order, 64)
        ends = [found["absorbed"], found["absorbed, low"], found["absorbed, high"]]
        assert ends == [truth.absorbed.value, truth.absorbed.low, truth.absorbed.high]
        ends = [found["lost mass"], found["lost mass, low"], found["lost mass, high"]]
        assert ends == [truth.lost_mass.value, truth.lost_mass.low, truth.lost_mass.high]
        assert found["predicted"] == truth.predicted
        assert (found["bits lost, median"], found["bits lost, 95 %"]) == (1.5, 3.5)
        assert more[-3:] == (0.25, 7, 0)


def test_the_figures_draw_every_order_with_its_intervals():
    figures = {figure.key: figure for figure in result(*ROWS).sheet().figures}
    assert list(figures) == ["absorbed", "growth", "lost-mass", "bits-lost"]
    sequential, pairwise = figures["absorbed"].series
    assert (sequential.name, pairwise.name) == ("sequential", "pairwise")
    assert sequential.x == ("a · forward", "b · forward")
    assert (sequential.y, sequential.low, sequential.high) == (
        *((0.125, 0.5), (0.0625, 0.25), (0.25, 1.0)),
    )
    assert (pairwise.y, pairwise.high) == ((0.0, 0.0), (0.03, 0.01))
    assert figures["lost-mass"].series[0].y == (0.125 / 8, 0.5 / 8)
    assert figures["bits-lost"].series[0].high == (3.5, 3.5)


def test_growth_is_drawn_beside_what_was_measured():
    (growth,) = [f for f in result(*ROWS).sheet().figures if f.key == "growth"]
    predicted, measured = growth.series
    assert predicted.name == measured.name == "a · forward"
    assert (predicted.x, predicted.y) == ((64, 256, 1024), (0.15, 0.3, 0.5))
    assert (predicted.mark, predicted.dashed, measured.mark) == ("line", True, "points")
    assert (measured.x, measured.y, measured.low) == ((64,), (0.125,), (0.0625,))
    assert "growth" not in {f.key for f in result(*ROWS[1:]).sheet().figures}


def test_of_many_sums_the_worst_are_drawn_and_all_are_told():
    many = [row(f"l{i}", "sequential", (i + 1) / 100) for i in range(MOST_PLACES + 20)]
    sheet = result(*many).sheet()
    drawn = sheet.figures[0].series[0].x
    assert drawn == tuple(f"l{i} · forward" for i in range(20, MOST_PLACES + 20))
    assert f"(the worst {MOST_PLACES} of {MOST_PLACES + 20} sums)" in sheet.figures[0].title
    assert len(sheet.tables[0].rows) == len(many)


def test_what_was_not_replayed_is_said_and_nothing_is_no_error():
    sheet = result(*ROWS).sheet()
    assert "Not replayed: attention." in sheet.notes
    assert "(4 of 4 rows are sampled" in sheet.notes[1]
    empty = result().sheet()
    assert empty.answer == "Net has no sum that can be replayed."
    assert (empty.tables, empty.figures) == ((), ())


@pytest.mark.parametrize("rows", [ROWS, (), (row("a", "sequential", math.nan),)])
def test_every_sheet_can_be_shown(rows):
    sheet_to_json(result(*rows).sheet())


def test_a_sum_of_zeros_is_not_the_worst():
    nothing = Estimate(math.nan, math.nan, math.nan)
    rows = (row("z", "sequential", 0.0, absorbed=nothing, lost_mass=nothing), ROWS[0])
    assert "of 'a'" in result(*rows).sheet().answer
    answer = result(rows[0]).sheet().answer
    assert "Sequential: no sum has two addends that are not zero." in answer
