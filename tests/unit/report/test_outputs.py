"""Terminal, JSON, figures and the errors of building: the same findings everywhere."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from deephochuli.analysis import Finding, Number, PlaceEvidence, findings
from deephochuli.errors import MissingExtraError, StoreError
from deephochuli.report import build_report, findings_table, to_json, write_figures
from deephochuli.report._build import open_sources
from deephochuli.store import RunWriter, open_run
from tests.e2e.synthetic import Shape, manifest_of, write_run

SHAPE = Shape(dtype="bfloat16", layers=("a", "b"), n_steps=4, n_elements=240, n_channels=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("outputs") / "bf16", SHAPE)


def finding(**changes) -> Finding:
    fields = {
        "kind": "swamped-updates",
        "level": "critical",
        "score": 0.9,
        "title": "[red]markup[/red] \x1b[31mesc \u202ertl",
        "layer": "layer\x07",
        "quantity": "dw",
        "summary": "a summary",
        "why": "why",
        "advice": "advice",
        "code": "line one\nline two",
        "numbers": (Number("share", 0.5, "share", 0.25, 0.75), Number("n", float("inf"))),
        "places": (PlaceEvidence("a", "dw", 0.5), PlaceEvidence("b", "dw", 0.4)),
        "step_first": 0,
        "step_last": 9,
        "evidence": "unmoved",
    }
    return Finding(**{**fields, **changes})


def printed(*args, width: int = 100, **options) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    for table in findings_table(*args, **options):
        console.print(table)
    return out.getvalue()


def test_the_terminal_shows_every_finding_in_order(run):
    found = findings(open_run(run))
    assert found
    text = " ".join(printed({"bf16": found}, width=400).split())
    places = [text.index(" ".join(one.title.split())) for one in found]
    assert places == sorted(places)
    assert all(" ".join(one.advice.split()) in text for one in found)
    assert text.endswith("Next: deephochuli fit bf16")


def test_the_terminal_draws_where_the_numbers_lie(run):
    opened = open_run(run)
    text = printed({"bf16": findings(opened)}, runs={"bf16": opened})
    assert any(block in text for block in "▁▂▃▄▅▆▇█")
    assert f"deephochuli fit {run}" in text.replace("\n", "")


def test_nothing_in_a_name_steers_the_terminal():
    text = printed({"x\x1b]0;title\x07": [finding()]})
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]markup[/red]" in text
    assert "\\x1b[31mesc" in text


def test_a_run_without_findings_says_so():
    assert "Nothing was found" in printed({"fp32": []})


def test_json_holds_all_that_a_finding_says_and_survives_json():
    record = to_json({"a": [finding()], "b": []})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["schema"] == 1
    assert [entry["name"] for entry in record["runs"]] == ["a", "b"]
    (one,) = record["runs"][0]["findings"]
    assert set(one) == {field for field in Finding.__dataclass_fields__}
    assert one["numbers"][0] == {
        "label": "share", "value": 0.5, "unit": "share", "low": 0.25, "high": 0.75,
    }  # fmt: skip
    assert one["numbers"][1]["value"] is None


def test_a_page_replaces_the_one_before_and_leaves_no_draft(run, tmp_path):
    page = tmp_path / "new" / "page.html"
    assert build_report(run, page) == page
    first = page.read_text("utf-8")
    build_report([run], page, title="Another title")
    assert "Another title" in page.read_text("utf-8") != first
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_runs_of_one_name_are_told_apart_by_their_parents(tmp_path):
    for parent in ("one", "two"):
        write_run(tmp_path / parent / "run", SHAPE)
    _, names = open_sources([tmp_path / "one" / "run", tmp_path / "two" / "run"])
    assert names == ["one/run", "two/run"]


def test_an_empty_run_is_named(tmp_path):
    with RunWriter(tmp_path / "empty", manifest_of(SHAPE)):
        pass
    with pytest.raises(StoreError, match="no recorded step"):
        build_report(tmp_path / "empty", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_no_run_at_all_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="at least one run"):
        build_report([], tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        build_report(run, tmp_path / "file" / "page.html")
    assert "page.html" in str(caught.value)


def test_figures_are_written_as_svg_and_png(run, tmp_path):
    pytest.importorskip("matplotlib")
    written = write_figures(run, tmp_path / "figures")
    assert {path.suffix for path in written} == {".svg", ".png"}
    assert all(path.stat().st_size > 1000 for path in written)
    assert any("updates" in path.name for path in written)
    assert len({path.stem for path in written}) == 1 + len(SHAPE.quantities)


def test_without_matplotlib_the_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"deephochuli\[plot\]"):
        write_figures(run, tmp_path)


def test_a_report_never_imports_torch(run, tmp_path):
    code = (
        "import sys; from deephochuli.report import build_report;"
        f"build_report({str(run)!r}, {str(tmp_path / 'page.html')!r});"
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'numba')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_run_gives_the_same_page(run, tmp_path):
    def page(name: str) -> str:
        text = build_report(run, tmp_path / name).read_text("utf-8")
        return text.replace(text[text.index('"at":') : text.index('"at":') + 30], "")

    assert page("one.html") == page("two.html")
