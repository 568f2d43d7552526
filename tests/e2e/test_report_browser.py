"""The report as a reader meets it: opened from disk in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deephochuli.analysis import findings
from deephochuli.formats import get_format
from deephochuli.report import build_report
from deephochuli.sketch import Sketch, ask
from deephochuli.store import RunReader, RunWriter, StepRow, open_run
from tests.conftest import find_chromium
from tests.e2e.browser import Browser, Page
from tests.e2e.synthetic import HOSTILE_NAMES, Shape, manifest_of, tap_row, write_run

pytestmark = pytest.mark.browser

LAYERS = ("stem", "stages.0.conv1", "stages.0.conv2", "neck", "head")
SMALL = {"layers": LAYERS, "n_steps": 12, "n_elements": 600, "n_channels": 12}


@pytest.fixture(scope="module")
def chromium_running(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found on PATH")
    with Browser(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def browser(chromium_running):
    yield chromium_running
    chromium_running.close_pages()


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [
        write_run(root / dtype, Shape(dtype=dtype, hole=(20, 40), **SMALL))
        for dtype in ("float32", "bfloat16", "float16")
    ]


@pytest.fixture(scope="module")
def report(folders, tmp_path_factory) -> Path:
    return build_report(folders, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    shape = Shape(
        layers=HOSTILE_NAMES, n_steps=2, n_elements=64, n_channels=4, command=HOSTILE_NAMES
    )
    run = write_run(root / "<i>run", shape)
    return build_report(
        run, root / "report.html", title="</title><script>window.__owned=1</script>"
    )


def table_of(page: Page, panel: str) -> list[dict[str, str]]:
    """The table twin of a panel, as a reader without eyes for charts gets it."""
    page.run(f"document.querySelector('#{panel} .twin-details').open = true")
    page.settle()
    rows = page.run(
        f"[...document.querySelectorAll('#{panel} .twin tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    return [dict(zip(_unique(rows[0]), row, strict=True)) for row in rows[1:]]


def _unique(names: list[str]) -> list[str]:
    """Column names, those that occur again with the name of the column before."""
    return [
        name if names.index(name) == i else f"{names[i - 1]}/{name}" for i, name in enumerate(names)
    ]


def whole_sketch(run: RunReader, layer: str, quantity: str) -> Sketch:
    tap = run.whole(layer, quantity)
    numbers = tap.numbers
    return Sketch.from_counts(
        tap.key,
        tap.count,
        numbers["sum"],
        numbers["sum_sq"],
        numbers["min_abs"],
        numbers["max_abs"],
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_silent_and_asks_nobody(browser, report, theme):
    page = browser.open(report, theme=theme)
    for key in ("ArrowDown", "ArrowRight", "]", "?", "?", "/"):
        page.press(key)
    for mode in (2, 3, 1):
        page.click(f"#exponents .segmented button:nth-child({mode})")
    assert page.run("document.documentElement.dataset.theme") == theme
    assert page.complaints() == []
    assert page.requests() == []


def test_every_panel_has_drawn_something(browser, report):
    page = browser.open(report)
    for panel in ("map", "exponents", "updates", "units", "layer", "compare"):
        assert page.run(f"document.querySelectorAll('#{panel} .panel-body svg').length"), panel
    assert page.run("document.querySelectorAll('#fit table tr').length") > 10
    assert page.run("document.documentElement.scrollWidth") <= 1440


def test_the_page_fits_a_narrow_window(browser, report):
    page = browser.open(report, width=400, height=800)
    assert page.run("document.documentElement.scrollWidth") == 400


def test_findings_come_first_and_are_those_of_the_analysis(browser, report, folders):
    page = browser.open(report)
    expected = [finding for folder in folders for finding in findings(open_run(folder))]
    assert expected
    shown = page.run("[...document.querySelectorAll('.finding h3')].map(x => x.textContent)")
    assert sorted(shown) == sorted(finding.title for finding in expected)
    levels = page.run("[...document.querySelectorAll('.finding .level')].map(x => x.textContent)")
    order = ["Critical", "Warning", "Note"]
    assert [order.index(level) for level in levels] == sorted(
        order.index(level) for level in levels
    )


def test_evidence_is_one_click_away(browser, report, folders):
    page = browser.open(report)
    page.run("document.querySelector('#findings').scrollIntoView()")
    for number in range(page.run("document.querySelectorAll('.finding').length")):
        layer = page.run(
            f"document.querySelectorAll('.finding')[{number}].querySelector('.name').textContent"
        )
        page.run(f"document.querySelectorAll('.finding .evidence')[{number}].click()")
        page.settle()
        chosen = page.run(
            "document.querySelector('#map .row-label[font-weight=\"650\"]').dataset.layer"
        )
        assert chosen == layer


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3fn", "fp8_e5m2", "fp32"])
def test_the_format_switch_gives_the_numbers_of_python(browser, report, folders, name):
    page = browser.open(report, hash="#layer=stages.0.conv1.relu&quantity=dz")
    page.choose(".toolbar .drop-down select", name)
    label = page.run("document.querySelector('.toolbar select').selectedOptions[0].textContent")
    rows = table_of(page, "layer")
    runs = {folder.name: open_run(folder) for folder in folders}
    stored = [row for row in rows if row["quantity"] != "a"]
    assert {row["quantity"] for row in rows} == {
        "z", "a", "dz", "w", "g", "dw", "state:momentum_buffer"
    }  # fmt: skip
    for row in stored:
        sketch = whole_sketch(runs[row["run"]], row["layer"], row["quantity"])
        answer = ask(sketch, get_format(name))
        assert int(row["nonzero finite"]) == answer.n
        for column, share in (
            (f"to zero in {label}, at least", answer.to_zero.low),
            ("subnormal, at least", answer.subnormal.low),
            ("overflow, at least", answer.out_of_range.low),
        ):
            assert int(row[column]) == share, (name, row, column)
        highs = [int(value) for key, value in row.items() if key.endswith("at most")]
        assert highs == [answer.to_zero.high, answer.subnormal.high, answer.out_of_range.high]
    derived = next(row for row in rows if row["quantity"] == "a" and row["run"] == "float16")
    relu = whole_sketch(runs["float16"], derived["layer"], "z").relu()
    assert int(derived["nonzero finite"]) == ask(relu, get_format(name)).n


@pytest.mark.parametrize(
    ("quantity", "metric", "name", "field"),
    [
        ("g", "to-zero", "fp8_e4m3fn", "to_zero"),
        ("g", "subnormal", "fp8_e4m3fn", "subnormal"),  # the tie below the normal range is no edge
        ("z", "overflow", "fp4_e2m1", "out_of_range"),  # 7 lies inside a binade
    ],
)
def test_the_map_brackets_the_truth_at_every_step(
    browser, report, folders, quantity, metric, name, field
):
    page = browser.open(report, hash=f"#quantity={quantity}&metric={metric}&format={name}&shown=0")
    rows = table_of(page, "map")
    run = open_run(folders[0])
    truth = {}
    for layer in {row["layer"] for row in rows}:
        steps, histograms = run.history(layer, quantity)
        for step, (keys, counts) in zip(steps.tolist(), histograms, strict=True):
            sketch = Sketch.from_counts(keys, counts, 0.0, 0.0, 0.0, np.inf)
            share = getattr(ask(sketch, get_format(name)), field)
            truth[layer, str(step)] = (share.low_share, share.high_share)
    measured = [row for row in rows if row["at least"] != "not measured"]
    assert {(row["layer"], row["first step"]) for row in measured} == set(truth)
    assert max(low for low, _ in truth.values()) > 0.02
    rounding = 0.022  # two counts, each within 1.1 %
    for row in measured:
        low, high = truth[row["layer"], row["first step"]]
        assert float(row["at least"]) * (1 - rounding) - 1e-9 <= high, row
        assert float(row["at most"]) * (1 + rounding) + 1e-9 >= low, row
        assert float(row["at least"]) <= float(row["at most"])


def test_not_measured_is_told_apart_from_zero(browser, report):
    page = browser.open(report, hash="#quantity=dw&metric=unmoved&shown=0")
    rows = table_of(page, "map")
    hole = [
        row for row in rows if row["layer"] == "neck.weight" and 20 <= int(row["first step"]) < 40
    ]
    assert hole
    assert {row["updates swamped"] for row in hole} == {"not measured"}
    others = {row["updates swamped"] for row in rows if row["layer"] == "stem.weight"}
    assert "not measured" not in others


def test_an_address_restores_the_view_and_the_back_button_returns(browser, report):
    page = browser.open(report)
    page.choose("#map .drop-down:nth-child(1) select", "g")
    page.choose("#map .drop-down:nth-child(2) select", "rms")
    page.choose(".toolbar .drop-down select", "fp8_e5m2")
    page.choose("#exponents .drop-down select", "stages.0.conv2.weight")
    address = page.run("location.hash")
    read = (
        "[...document.querySelectorAll('.toolbar select, #map select, #exponents select')]"
        ".map(select => select.value).join('|')"
    )
    view = page.run(read)
    again = browser.open(report, hash=address)
    assert again.run(read) == view == "fp8_e5m2|g|rms|stages.0.conv2.weight|g"
    page.to_front()
    page.run("history.back()")
    page.wait_for("!location.hash.includes('conv2.weight')")
    page.settle()
    assert page.run(read).split("|")[3] != "stages.0.conv2.weight"


def test_an_address_that_asks_for_the_impossible_is_repaired(browser, report):
    page = browser.open(
        report, hash="#run=99&shown=7,x&quantity=q&metric=m&format=f&layer=no&from=x"
    )
    assert page.complaints() == []
    assert page.run("document.querySelectorAll('#map svg').length")


def test_keys_move_and_search(browser, report):
    page = browser.open(report, hash="#quantity=z&layer=stem.relu")
    page.press("ArrowDown")
    assert "layer=stages.0.conv1.relu" in page.run("decodeURIComponent(location.hash)")
    page.press("?")
    assert page.run("document.querySelector('dialog').open") is True
    page.press("?")
    page.press("/")
    assert page.run("document.activeElement.id") == "search"
    page.run(
        "(field => { field.value = 'conv[2]'; field.dispatchEvent(new Event('input')); })"
        "(document.querySelector('#search'))"
    )
    hits = page.run("[...document.querySelectorAll('.hits .name')].map(hit => hit.textContent)")
    assert sorted(hits) == ["stages.0.conv2.relu", "stages.0.conv2.weight"]


def test_the_theme_is_remembered(browser, report):
    page = browser.open(report, theme="light")
    page.click(".toolbar .icon")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    again = browser.open(report, theme="light")
    assert again.run("document.documentElement.dataset.theme") == "dark"
    again.click(".toolbar .icon")
    again.run("localStorage.clear()")


def test_hostile_names_are_text(browser, hostile_report):
    page = browser.open(hostile_report)
    page.run("document.querySelector('#fit .quiet:not([title])')?.click()")
    page.settle()
    shown = set(page.run("[...document.querySelectorAll('bdi.name')].map(name => name.title)"))
    escaped = {"\u202e": "[U+202E]", "\x00": "␀", "\u2028": "[U+2028]"}
    for name in HOSTILE_NAMES[:-1]:
        text = "".join(escaped.get(sign, sign) for sign in f"{name}.relu")
        if "👩" not in name:  # joiners inside an emoji stay as they are
            assert text in shown, name
    assert any("🧠" in name for name in shown)
    assert any(name.startswith("long.xxx") and len(name) < 400 for name in shown)
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        page.press(key)
    assert page.run("window.__owned") is None
    assert page.run("document.querySelectorAll('main script, main img, main i.name').length") == 0
    assert "<i>run" in page.text(".toolbar .runs")
    assert "</title><script>" in page.text("h1")
    assert page.complaints() == []
    assert page.requests() == []
    assert page.run("document.documentElement.scrollWidth") <= 1440


def test_numbers_without_a_binade_draw_without_complaint(browser, tmp_path):
    """All zero (every update swamped), all infinite, all NaN, and a tap seen once."""
    kinds = {"zeros": 0.0, "infinities": np.inf, "nans": np.nan, "ones": 1.0}
    with RunWriter(tmp_path / "run", manifest_of(Shape())) as writer:
        for step in range(3):
            rows = [
                tap_row(name, quantity, np.full((2, 4), value), order=order)
                for order, (name, value) in enumerate(kinds.items())
                for quantity in ("z", "w", "g", "dw")
                if name != "ones" or step == 1
            ]
            writer.append(StepRow(step=step, wall_s=0.0), rows)
    page = browser.open(build_report(tmp_path / "run", tmp_path / "page.html"))
    for name in kinds:
        for quantity, layer in (("z", f"{name}.relu"), ("dw", f"{name}.weight")):
            for ridges in ("offset", "overlay", "bands"):
                page.run(f"location.hash = 'layer={layer}&quantity={quantity}&ridges={ridges}'")
                page.settle()
    for number in range(
        page.run("document.querySelector('#map .drop-down:nth-child(2) select').length")
    ):
        page.run(
            f"(s => {{ s.selectedIndex = {number}; s.dispatchEvent(new Event('change')); }})"
            "(document.querySelector('#map .drop-down:nth-child(2) select'))"
        )
        page.settle()
    assert page.complaints() == []


def test_what_is_open_stays_open(browser, report):
    page = browser.open(report)
    page.run("document.querySelector('.finding details').open = true")
    before = table_of(page, "map")
    page.choose("#map .drop-down:nth-child(1) select", "w")
    assert page.run("document.querySelector('.finding details').open") is True
    assert page.run("document.querySelector('#map .twin-details').open") is True
    assert table_of(page, "map") != before


def test_a_damaged_file_says_so(browser, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    start = text.index('id="blob">') + 10
    broken = tmp_path / "broken.html"
    broken.write_text(text[:start] + "AAAA" + text[start + 4 :], encoding="utf-8")
    page = browser.open(broken, ready=".failure")
    assert "could not be shown" in page.text(".failure")


def test_a_chart_can_be_saved_as_a_file_of_its_own(browser, report):
    page = browser.open(report)
    page.run(
        "window.saved = []; URL.createObjectURL = blob => { window.saved.push(blob); return '#'; };"
        "HTMLAnchorElement.prototype.click = () => {};"
        "for (const button of document.querySelectorAll('#map .files button')) button.click()"
    )
    page.wait_for("window.saved.length >= 7")
    kinds = page.run("window.saved.map(blob => blob.type)")
    assert sorted(set(kinds)) == ["image/png", "image/svg+xml", "text/csv;charset=utf-8"]
    text = page.run("window.saved.find(blob => blob.type.startsWith('image/svg')).text()")
    assert text.startswith("<svg ")
    assert "var(--" not in text
    table = page.run("window.saved.find(blob => blob.type.startsWith('text/csv')).text()")
    assert table.splitlines()[0].lstrip("\ufeff").startswith("run,layer,quantity,first step")
