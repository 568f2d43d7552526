"""The page of a comparison: its data are those of the analysis, and its code reads them right."""

from __future__ import annotations

import json
import math
import re

import pytest

from deephochuli.errors import StoreError
from deephochuli.report import build_comparison_report
from deephochuli.report._comparison import comparison_payload
from deephochuli.report._comparison_columns import comparison_set, pairs_set
from tests.unit.report import comparisons as made
from tests.unit.report.node import call_all


def data_of(page) -> dict:
    """The data that a page holds."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'id="payload">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def rows_in_page(found: dict) -> list[dict]:
    (rows,) = call_all("comparison_data", [("rowsOf", [found])])
    return rows


def close(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-15)


def test_the_code_of_the_page_reads_every_number_of_every_row():
    compared = made.comparison()
    rows = rows_in_page(comparison_set(compared, made.verdict(compared)))
    assert len(rows) == len(compared.rows)
    for row, truth in zip(rows, compared.rows, strict=True):
        tail = f" · {truth.parameter}" if truth.parameter else ""
        assert row["name"] == truth.layer + tail
        assert (row["kind"], row["direction"]) == (truth.kind, truth.direction)
        assert compared.executors[row["executor"]] == truth.executor
        assert close(row["ratio"], truth.ratio)
        assert row["flips"] == truth.sign_flips
        for name, error in (
            ("own", truth.local),
            ("inherited", truth.inherited),
            ("total", truth.total),
        ):
            for field in ("n", "rms", "max_abs", "mean_abs", "median_abs", "rms_ulps", "max_ulps"):
                assert close(row[name][field], getattr(error, field)), (row["name"], name, field)
            for field in ("zeros", "sign_flips", "nonfinite"):
                assert row[name][field] == getattr(error, field)
            assert close(row[name]["rel"], 0.0 if error.is_exact else error.rel_l2)
            assert close(row[name]["apart"], 1 - error.cosine)


def test_a_verdict_marks_its_layers_and_draws_its_floor_for_every_execution():
    compared = made.comparison()
    rows = rows_in_page(comparison_set(compared, made.verdict(compared)))
    marked = {(row["executor"], row["name"], row["direction"]): row["mark"] for row in rows}
    assert marked[1, made.CULPRIT, "forward"] == 2
    assert marked[1, "head", "forward"] == marked[1, "stem · weight", "gradient"] == 1
    assert {mark for (executor, _, _), mark in marked.items() if executor == 0} == {0}
    assert marked[1, "relu", "forward"] == 0
    floors = {row["executor"]: row["floor"] for row in rows if row["name"] == "stem"}
    assert close(floors[0], floors[1])
    assert close(floors[1], 2 * made.error(2.0**-25).rel_l2)


def test_without_a_verdict_nothing_is_marked():
    rows = rows_in_page(comparison_set(made.comparison(), None))
    assert {row["mark"] for row in rows} == {0}
    assert all(math.isnan(row["floor"]) for row in rows)


def test_a_verdict_of_an_execution_that_is_not_shown_marks_nothing():
    compared = made.comparison()
    rows = rows_in_page(comparison_set(compared, made.verdict(compared, execution="elsewhere")))
    assert {row["mark"] for row in rows} == {0}


def test_rows_of_two_executions():
    pairs = made.pairs()
    rows = rows_in_page(pairs_set(pairs))
    names = [row["name"] for row in rows]
    assert names == ["(model)", "stem", "relu", "head", "head · weight"]
    assert [row["mark"] for row in rows] == [0, 2, 0, 0, 0]
    assert close(rows[3]["own"]["rel"], 2.0**-9)
    assert close(rows[3]["inherited"]["rel"], 2.0**-11)
    assert rows[4]["inherited"] is None
    assert all(row["total"] is None for row in rows)


def test_a_row_is_exact_when_nothing_differs_and_no_decision_flipped():
    rows = rows_in_page(comparison_set(made.comparison(), None))
    shown = [row for row in rows if row["executor"] == 1 and row["direction"] == "forward"]
    assert [row["name"] for row in shown] == ["(model)", "stem", "relu", "head"]
    exact = call_all("comparison_data", [("isExact", [row]) for row in shown])
    assert exact == [True, False, False, False]  # the relu is exact but decided otherwise
    assert call_all("comparison_data", [("isExact", [{**shown[2], "flips": None}])]) == [True]


@pytest.mark.parametrize(
    ("sizes", "axis"),
    [
        ([2.0**-12], {"low": -13, "high": -11, "step": 1}),
        ([2.0**-24, 2.0**-8], {"low": -28, "high": -4, "step": 4}),
        ([2.0**-149, 2.0**127], {"low": -192, "high": 128, "step": 64}),
        ([0.0, math.nan, math.inf], {"low": -28, "high": 4, "step": 4}),
        ([], {"low": -28, "high": 4, "step": 4}),
    ],
)
def test_the_axis_holds_every_error(sizes, axis):
    rows = [
        {"own": {"rel": size}, "inherited": None, "floor": math.nan, "mark": 0} for size in sizes
    ]
    (found,) = call_all("comparison_data", [("axisOf", [rows, "rel"])])
    assert found == axis
    for size in sizes:
        (place,) = call_all("comparison_data", [("placeOn", [size, found])])
        if size > 0 and math.isfinite(size):
            exact = (math.log2(size) - axis["low"]) / (axis["high"] - axis["low"])
            assert place == pytest.approx(exact)
            assert 0 < place < 1
        elif size == 0 or math.isnan(size):
            assert math.isnan(place)


def test_the_floor_in_ulps_keeps_its_proportion():
    row = {"floor": 2.0**-23, "own": {"rel": 2.0**-12, "rms_ulps": 4096.0}}
    asked = [("floorOf", [row, measure]) for measure in ("rel", "ulps")]
    assert call_all("comparison_data", asked) == [2.0**-23, 2.0]
    exact = {"floor": 2.0**-23, "own": {"rel": 0.0, "rms_ulps": 0.0}}
    assert math.isnan(call_all("comparison_data", [("floorOf", [exact, "ulps"])])[0])


def test_the_table_for_files_has_every_row_and_says_what_is_missing():
    rows = rows_in_page(comparison_set(made.comparison(), None))
    words = {"own": "own", "inherited": "inherited"}
    (table,) = call_all("comparison_data", [("tableOf", [rows, words])])
    assert len(table) == 1 + len(rows)
    assert {len(row) for row in table} == {len(table[0])}
    assert table[0][:4] == ["layer", "kind", "direction", "times fp32"]
    assert any(isinstance(cell, float) and math.isnan(cell) for cell in table[1])


def test_the_file_is_one_page_with_everything_that_was_found(tmp_path):
    compared = made.comparison()
    page = build_comparison_report(
        compared,
        tmp_path / "new folder" / "page.html",
        verdict=made.verdict(compared),
        kept=made.kept(),
        pairs=made.pairs(),
    )
    data = data_of(page)
    assert data["title"] == "Net in fp32, tf32, beside fp64"
    assert data["verdict"]["culprit"]["layer"] == made.CULPRIT
    assert data["verdict"]["floor"]["rows"] == []  # they stand in the rows
    assert "KEEP_IN_FP32" in data["kept"]["snippet"]
    assert data["pairs"]["environment"] == [list(row) for row in made.pairs().environment]
    execution = data["comparison"]["executions"][1]
    assert (execution["worst"], execution["loss_difference"]) == ("stem", 0.125)
    assert execution["unmatched"] == ["extra (call 2)"]
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 4
    assert "$comparison_layers" in text
    assert "$heatmap" not in text


def test_a_page_about_two_executions_alone(tmp_path):
    page = build_comparison_report(None, tmp_path / "page.html", pairs=made.pairs())
    data = data_of(page)
    assert data["comparison"] is None
    assert data["title"] == "here (native) and there (native)"
    titled = build_comparison_report(None, tmp_path / "b.html", pairs=made.pairs(), title="<b>&")
    assert "<title>&lt;b&gt;&amp;</title>" in titled.read_text(encoding="utf-8")


def test_hostile_names_do_not_end_the_script(tmp_path):
    hostile = "</script><script>window.__owned=1</script>"
    compared = made.comparison((("", "Net"), (hostile, hostile)), model=hostile)
    page = build_comparison_report(compared, tmp_path / "page.html", kept=made.kept(low=hostile))
    text = page.read_text(encoding="utf-8")
    assert hostile not in text
    assert text.count("<script") == 4
    assert data_of(page)["comparison"]["set"]["layers"][1]["name"] == hostile


def test_what_json_cannot_hold_reaches_the_page():
    endless = made.error(1.0, rms=math.inf, nonfinite=3)
    row = made.Row("tf32", ("a", 0), "K", 0, "forward", None, endless, None, None, math.nan)
    compared = made.comparison(rows=(row,), losses={"fp64": math.nan, "fp32": None, "tf32": 1.0})
    payload = comparison_payload(compared, made.clean_verdict(), None, None, "t")
    json.dumps(payload, allow_nan=False)
    (read,) = rows_in_page(payload["comparison"]["set"])
    assert read["own"]["rms"] == math.inf
    assert (read["inherited"], read["own"]["nonfinite"]) == (None, 3)


def test_a_page_needs_something_to_show_and_a_place(tmp_path):
    with pytest.raises(StoreError, match="needs a comparison, or two executions"):
        build_comparison_report(None, tmp_path / "page.html", kept=made.kept())
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        build_comparison_report(made.comparison(), tmp_path / "file" / "page.html")


def test_five_hundred_layers_stay_a_small_file(tmp_path):
    names = (("", "Net"), *((f"stages.{i // 9}.blocks.{i % 9}", "Conv2d") for i in range(500)))
    page = build_comparison_report(made.comparison(names), tmp_path / "page.html")
    assert page.stat().st_size < 2_500_000
