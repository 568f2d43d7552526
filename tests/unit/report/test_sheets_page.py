"""The page of answers: its data are those of the sheets, and its code reads them right."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deephochuli.analysis import Axis, Figure, Series, Table
from deephochuli.errors import SheetError, StoreError
from deephochuli.report import Answer, answer_of, build_sheets_report, sheet_to_json
from deephochuli.report._sheets import sheets_payload
from deephochuli.studies import Conclusion, Study
from tests.e2e.synthetic import HOSTILE_NAMES
from tests.unit.report import sheets as made
from tests.unit.report.node import call_all


def data_of(page: Path) -> dict:
    """The data that a page holds."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'id="payload">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def figure_in_page(figure: Figure) -> dict:
    """A figure as the page's code reads it."""
    record = sheet_to_json(made.sheet(figures=(figure,)))["figures"][0]
    (found,) = call_all("sheet_data", [("figureOf", [record])])
    return found


def same(a: object, b: object) -> bool:
    """Equal, where nan is nan and None stands for nan."""
    if isinstance(b, float) and math.isnan(b):
        return a is None or (isinstance(a, float) and math.isnan(a))
    return a == b


@pytest.mark.parametrize("figure", [made.cutoff(), made.layers(), made.bars(), made.pieces()])
def test_the_code_of_the_page_reads_every_number_of_every_figure(figure):
    found = figure_in_page(figure)
    for axis in ("x", "y"):
        truth = getattr(figure, axis)
        assert (found[axis]["label"], found[axis]["scale"]) == (truth.label, truth.scale)
    for series, truth in zip(found["series"], figure.series, strict=True):
        assert (series["name"], series["mark"], series["dashed"]) == (
            *(truth.name, truth.mark, truth.dashed),
        )
        for column in ("x", "y", "low", "high"):
            wanted = [math.nan if v is None else v for v in getattr(truth, column)]
            assert len(series[column]) == len(wanted)
            assert all(map(same, series[column], wanted)), (series["name"], column)


def test_numbers_reach_the_page_to_the_last_digit_and_infinities_too():
    x = (math.pi, 2.0**-149, 1e308, math.inf, -math.inf, math.nan)
    figure = Figure("f", "t", Axis("x"), Axis("y"), (Series("s", x, tuple(reversed(x))),))
    series = figure_in_page(figure)["series"][0]
    assert all(map(same, series["x"], x))
    assert all(map(same, series["y"], reversed(x)))


def test_numbers_of_numpy_are_numbers():
    row = (np.float32(0.5), np.int64(3), np.float64(math.inf))
    table = Table("t", "t", ("a", "b", "c"), (row,))
    found = sheet_to_json(made.sheet(tables=(table,)))["tables"][0]
    assert found["rows"] == [[0.5, 3, "inf"]]


def test_the_payload_holds_everything_of_the_answers(tmp_path):
    page = build_sheets_report(
        made.answers(),
        tmp_path / "new folder" / "page.html",
        title="Two studies",
        lede="All of it.",
    )
    data = data_of(page)
    assert (data["title"], data["lede"], data["schema"]) == ("Two studies", "All of it.", 1)
    first, second = data["answers"]
    assert (first["key"], second["key"]) == ("swamping", "barrier")
    assert [claim["verdict"] for claim in first["claims"]] == [
        *("confirmed", "refined", "refuted", "open", "confirmed")
    ]
    assert first["claims"][1]["measured"] == made.claims()[1].measured
    assert second["answer"] == made.sheet().answer
    assert first["tables"][0]["rows"][-1] == ["last", 3, "inf", True, None]
    assert first["notes"] == list(made.sheet().notes)
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 4
    assert "$sheet_plot" in text
    assert "$heatmap" not in text


def test_a_study_and_its_conclusion_are_an_answer():
    study = Study("s", "Title", "Why?", 1, lambda quick: [], dict, lambda results: conclusion)
    conclusion = Conclusion("So.", made.claims(), (made.table(),), (made.bars(),), ("Note.",))
    found = sheet_to_json(answer_of(study, conclusion))
    assert (found["key"], found["title"], found["question"]) == ("s", "Title", "Why?")
    assert (found["answer"], found["notes"], len(found["claims"])) == ("So.", ["Note."], 5)
    assert (len(found["tables"]), len(found["figures"])) == (1, 1)


def test_hostile_names_do_not_end_the_script(tmp_path):
    hostile = "</script><script>window.__owned=1</script>"
    sheet = made.sheet(title=hostile, answer=hostile, notes=HOSTILE_NAMES)
    claim = replace(made.claims()[0], text=hostile, because=hostile)
    page = build_sheets_report([Answer(sheet, (claim,))], tmp_path / "page.html", title=hostile)
    text = page.read_text(encoding="utf-8")
    assert hostile not in text
    assert text.count("<script") == 4
    assert data_of(page)["answers"][0]["title"] == hostile


def bad_series(series: Series, scale: str = "linear"):
    axis = Axis("x", scale)
    return made.sheet(figures=(Figure("f", "t", axis, Axis("y"), (series,)),))


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        (made.sheet(key="a b"), "'a b' cannot be the key of a sheet"),
        (made.sheet(figures=(made.bars(), made.bars())), "two figures with the key 'bars'"),
        (made.sheet(tables=(replace(made.table(), key=""),)), "'' cannot be the key of a table"),
        (bad_series(Series("s", (1.0, 2.0), (1.0,))), r"'s' \(points\) has 2 x, 1 y, 0 low"),
        (bad_series(Series("s", (1.0,), (1.0,), (0.5,))), "1 low and 0 high"),
        (bad_series(Series("s", (1.0,), (1.0,), mark="rule")), "either x or y for a rule"),
        (bad_series(Series("s", (1.0,), (), mark="band")), r"\(band\) has 1 x, 0 y, 0 low"),
        (bad_series(Series("s", ("a",), (1.0,))), "has texts along x; expected numbers"),
        (
            bad_series(Series("s", (1.0,), (1.0,), mark="pie")),
            "has the mark 'pie'; expected one of",
        ),
        (bad_series(Series("s", (), ()), "log"), "has the scale 'log'; expected one of linear"),
        (
            made.sheet(figures=(Figure("f", "t", Axis("x"), Axis("y", "category"), ()),)),
            "its y axis has the scale 'category'",
        ),
        (
            made.sheet(tables=(Table("t", "t", ("a", "b"), ((1, 2), (3,))),)),
            "has 2 columns, and 1 cells in row 1",
        ),
        (
            made.sheet(tables=(Table("t", "t", ("a",), (([1],),)),)),
            r"holds \[1\], a list; expected a text",
        ),
    ],
)
def test_a_sheet_that_contradicts_itself_is_refused(sheet, message):
    with pytest.raises(SheetError, match=message):
        sheet_to_json(sheet)


def test_answers_that_cannot_be_shown_are_refused(tmp_path):
    with pytest.raises(SheetError, match="nothing to show"):
        build_sheets_report([], tmp_path / "page.html", title="t")
    with pytest.raises(SheetError, match="Two sheets have the key 'swamping'"):
        build_sheets_report([made.sheet(), made.sheet()], tmp_path / "page.html", title="t")
    wrong = replace(made.claims()[0], verdict="proven")
    with pytest.raises(SheetError, match="verdict 'proven'; expected one of confirmed"):
        sheet_to_json(Answer(made.sheet(), (wrong,)))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        build_sheets_report([made.sheet()], tmp_path / "file" / "page.html", title="t")


def domain_of(axis: Axis, values: list[float], stands: bool = False) -> dict:
    record = {"label": axis.label, "scale": axis.scale, "low": axis.low, "high": axis.high}
    (found,) = call_all("sheet_scale", [("domainOf", [record, values, stands])])
    return found


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        (Axis("y"), [-3.0, 0.25, 7.0]),
        (Axis("y", "log10"), [1e-9, 0.5, 3e4]),
        (Axis("y", "log2"), [2.0**-149, 1.0, 2.0**127]),
        (Axis("y", "log10"), [0.0, 1e-3, 0.5]),
        (Axis("y"), [5.0]),
        (Axis("y", "log2"), [0.25]),
    ],
)
def test_an_axis_holds_every_number_and_has_little_to_spare(axis, values):
    found = domain_of(axis, [*values, math.nan, math.inf])
    log = {"linear": float, "log2": math.log2, "log10": math.log10}[axis.scale]
    places = [log(v) for v in values if axis.scale == "linear" or v > 0]
    assert found["low"] < min(places) <= max(places) < found["high"]
    spare = max(max(places) - min(places), 1.0)
    assert found["high"] - found["low"] <= 1.1 * spare + 0.2
    assert found["hasZero"] is (axis.scale != "linear" and 0.0 in values)
    assert found["nOutside"] == 0


def test_an_axis_keeps_its_ends_and_counts_what_it_cannot_show():
    found = domain_of(Axis("y", "log10", low=1e-4, high=10.0), [1e-9, 1.0, -1.0, -2.0])
    assert (found["low"], found["high"], found["nOutside"]) == (-4, 1, 2)
    assert domain_of(Axis("y", low=0.0, high=1.0), [0.3, 0.4])["low"] == 0
    assert domain_of(Axis("y", "log10", low=0.0), [0.1, 1.0])["low"] == pytest.approx(-1.045)


def test_bars_stand_on_zero():
    assert domain_of(Axis("y"), [3.0, 4.0], True)["low"] == 0
    down = domain_of(Axis("y"), [-3.0, -4.0], True)
    assert (down["high"], down["low"] < -4) == (0, True)


@pytest.mark.parametrize(
    ("scale", "low", "high", "texts"),
    [
        ("log10", -2.1, 3.2, ["0.01", "0.1", "1", "10", "100", "1 000"]),
        ("log10", -12.0, 0.0, ["10⁻¹²", "10⁻¹⁰", "10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"]),
        ("log10", 0.0, 0.7, ["1", "2", "5"]),
        ("log2", -24.5, 0.5, ["2⁻²⁴", "2⁻²⁰", "2⁻¹⁶", "2⁻¹²", "2⁻⁸", "2⁻⁴", "2⁰"]),
        ("linear", 0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_what_is_written_along_an_axis(scale, low, high, texts):
    domain = {"scale": scale, "low": low, "high": high, "hasZero": False, "nOutside": 0}
    (found,) = call_all("sheet_scale", [("ticksOf", [domain, 7])])
    assert [each["text"].replace("\u202f", " ") for each in found] == texts
    back = {"linear": float, "log2": math.log2, "log10": math.log10}[scale]
    assert all(low - 1e-9 <= back(each["value"]) <= high + 1e-9 for each in found)


def test_zero_has_a_tick_where_it_has_a_place():
    domain = {"scale": "log10", "low": -3, "high": 0, "hasZero": True, "nOutside": 0}
    (found,) = call_all("sheet_scale", [("ticksOf", [domain, 7])])
    assert found[0] == {"value": 0, "text": "0"}


def test_rows_of_a_figure_are_all_of_its_numbers():
    record = sheet_to_json(made.sheet())["figures"][0]
    (figure,) = call_all("sheet_data", [("figureOf", [record])])
    (rows,) = call_all("sheet_data", [("rowsOf", [figure])])
    truth = made.cutoff()
    head = ["series", truth.x.label, truth.y.label, "low", "high"]
    assert rows[0] == head
    assert len(rows) == 1 + sum(max(len(s.x), len(s.y)) for s in truth.series)
    fp32 = [row for row in rows if row[0] == "FP32"]
    series = truth.series[3]
    assert [tuple(row[1:]) for row in fp32] == list(
        zip(series.x, series.y, series.low, series.high, strict=True)
    )
    (rule,) = [row for row in rows if row[0].startswith("spacing")]
    assert rule[1:] == ["", 2.0**-24, "", ""]


def test_series_of_one_name_share_a_colour_and_rules_have_none():
    series = (
        *(Series("a", (1.0,), (1.0,)), Series("limit", (), (1.0,), mark="rule")),
        *(Series("a", (1.0,), (2.0,), mark="line"), Series("b", (1.0,), (1.0,))),
    )
    figure = figure_in_page(Figure("f", "t", Axis("x"), Axis("y"), series))
    (groups,) = call_all("sheet_data", [("groupsOf", [figure])])
    found = [(group["name"], len(group["series"]), group["color"]) for group in groups]
    assert found == [("a", 2, 0), ("limit", 1, None), ("b", 1, 1)]


def test_rows_are_sorted_with_what_is_missing_last():
    rows = [["b", 2], ["a", None], ["a10", -1], ["a9", math.inf]]
    calls = [("sorted", [rows, *how]) for how in ((1, True), (1, False), (0, False))]
    down, up, names = call_all("sheet_table", calls)
    assert [row[1] for row in down] == [math.inf, 2, -1, None]
    assert [row[1] for row in up] == [-1, 2, math.inf, None]
    assert [row[0] for row in names] == ["a", "a9", "a10", "b"]


def test_a_number_and_its_interval_are_one_column():
    headings = ["layer", "x", "x, low", "x, high", "y", "y, low", "y, top", "z", "w", "z, high"]
    (found,) = call_all("sheet_table", [("columnsOf", [headings])])
    assert [(each["name"], each["column"], each["hasInterval"]) for each in found] == [
        *(("layer", 0, False), ("x", 1, True), ("y", 4, False), ("y, low", 5, False)),
        *(("y, top", 6, False), ("z", 7, False), ("w", 8, False), ("z, high", 9, False)),
    ]


@pytest.mark.parametrize(
    ("sentence", "read"),
    [
        ("absorbs up to 2^-24 = 5.96e-08, above 10^3", "absorbs up to 2⁻²⁴ = 5.96·10⁻⁸, above 10³"),
        ("(2^-25) and 1e+06.", "(2⁻²⁵) and 1·10⁶."),
        ("2^-(n1+1), K^0.5, 2^0.5, x2^3, 2^3.5, 1e-3x, 0xe5, e4m3, 1.2e3.4", None),
        ("2^-24\u202e", "2⁻²⁴[U+202E]"),
    ],
)
def test_powers_in_sentences_are_raised_and_all_else_stays(sentence, read):
    assert call_all("sheet_prose", [("prose", [sentence])]) == [read or sentence]


def test_a_window_survives_the_address():
    zoom = {"x": [1e-9, 2.5], "y": [-3, 4]}
    (text,) = call_all("sheet_zoom", [("zoomText", ["swamping.cutoff", zoom])])
    read = [("zoomOf", ["swamping.cutoff", text]), ("zoomOf", ["other", text])]
    assert call_all("sheet_zoom", read) == [zoom, None]
    wrong = ["", "a", "a,1,2,3", "a,2,1,3,4", "a,1,2,x,4", "a,1,2,3,Infinity"]
    assert call_all("sheet_zoom", [("zoomOf", ["a", each]) for each in wrong]) == [None] * 6


def test_hidden_names_survive_the_address():
    hide = [("toggled", ["", "a.b", 1]), ("toggled", ["a.b:1", "c", 0])]
    assert call_all("sheet_figure", hide) == ["a.b:1", "a.b:1,c:0"]
    assert call_all("sheet_figure", [("toggled", ["a.b:1,c:0", "a.b", 1])]) == ["c:0"]


def test_the_nearest_number_is_told_and_a_far_one_is_not():
    spots = [{"x": 10, "y": 10}, {"x": 30, "y": 10}]
    asked = [("nearest", [spots, x, 12]) for x in (11, 29, 200)]
    assert call_all("sheet_hover", asked) == [spots[0], spots[1], None]


def test_what_json_cannot_hold_reaches_the_page():
    json.dumps(sheets_payload(made.answers(), "t", ""), allow_nan=False)


def test_a_large_page_stays_small(tmp_path):
    n = 20_000
    x = tuple(float(i) for i in range(n))
    figure = Figure("f", "t", Axis("x"), Axis("y"), (Series("s", x, x, mark="line"),))
    page = build_sheets_report([made.sheet(figures=(figure,))], tmp_path / "p.html", title="t")
    assert page.stat().st_size < 600_000
