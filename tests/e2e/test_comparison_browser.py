"""The page of a comparison as a reader meets it: opened from disk in a real browser."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from deephochuli.report import build_comparison_report
from tests.conftest import find_chromium
from tests.e2e.browser import Browser, Page
from tests.e2e.synthetic import HOSTILE_NAMES
from tests.unit.report import comparisons as made

pytestmark = pytest.mark.browser

MANY = (
    ("", "Net"),
    *((f"stages.{i // 12}.blocks.{i % 12}", ("Conv2d", "ReLU")[i % 2]) for i in range(500)),
)


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
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("comparisons")


@pytest.fixture(scope="module")
def report(folder) -> Path:
    compared = made.comparison()
    return build_comparison_report(
        compared,
        folder / "all.html",
        verdict=made.verdict(compared),
        kept=made.kept(),
        pairs=made.pairs(),
    )


@pytest.fixture(scope="module")
def large_report(folder) -> Path:
    compared = made.comparison(MANY)
    erring = [row for row in compared.of("tf32", "forward") if not row.local.is_exact]
    suspects = tuple(made.suspect_of(row) for row in erring[150:])
    judged = made.verdict(compared, culprit=suspects[0], suspects=suspects)
    return build_comparison_report(compared, folder / "large.html", verdict=judged)


def names(page: Page, panel: str = "layers") -> list[str]:
    """Names of the rows in view."""
    return page.run(
        f"[...document.querySelectorAll('#{panel} tbody tr .name')].map(x => x.textContent)"
    )


def press_switch(page: Page, panel: str, label: str) -> None:
    """Press a button of a panel by its text."""
    page.run(
        f"[...document.querySelectorAll('#{panel} .panel-head button, #{panel} .legend button')]"
        f".find(x => x.textContent.includes({json.dumps(label)})).click()"
    )
    page.settle()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_silent_and_asks_nobody(browser, report, theme):
    page = browser.open(report, theme=theme)
    for panel, labels in {
        "layers": ("Backward", "Gradients", "Updates", "fp32", "Forward", "ulps", "worst first"),
        "pairs": ("Gradients", "Forward", "ulps", "worst first"),
    }.items():
        for label in labels:
            press_switch(page, panel, label)
    assert page.run("document.documentElement.dataset.theme") == theme
    page.click(".toolbar .icon")
    assert page.run("document.documentElement.dataset.theme") != theme
    assert page.complaints() == []
    assert page.requests() == []
    page.run("localStorage.clear()")


def test_the_headline_names_the_layer_and_leads_to_it(browser, report):
    page = browser.open(report)
    assert page.text(".finding.warning h3").startswith("The difference starts at stem")
    headline = page.run("document.querySelectorAll('.finding h3')[1].textContent")
    assert headline == "Rounding starts at stem in the forward (tf32)"
    assert "Switch it off." in page.text("#verdict")
    press_switch(page, "layers", "Updates")
    page.run("document.querySelectorAll('#verdict .evidence')[1].click()")
    page.wait_for("document.activeElement.closest('#layers tr.start') !== null")
    assert page.run("document.activeElement.querySelector('.name').textContent") == "stem"
    assert "starts here" in page.text("#layers tr.start")


def test_bars_stand_where_the_numbers_say(browser, report):
    page = browser.open(report)
    read = (
        "[...document.querySelectorAll('#layers tbody tr')].map(row => [row.querySelector('.name')"
        ".textContent, ...['.stroke.own', '.stroke.inherited', '.floor'].map(name => {"
        " const bar = row.querySelector(name); if (!bar) return null;"
        " const [box, track] = [bar, bar.parentElement].map(x => x.getBoundingClientRect());"
        " return (name === '.floor' ? box.left + 1 - track.left : box.width) / track.width; })])"
    )
    ticks = page.run(
        "[...document.querySelectorAll('#layers .ticks span')].map(x => x.textContent)"
    )
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    low, high = (int(text[1:].translate(digits)) for text in (ticks[0], ticks[-1]))
    rows = {row[0]: row[1:] for row in page.run(read)}
    truth = {row.layer: row for row in made.comparison().of("tf32", "forward")}
    floor = 2 * made.error(2.0**-25).rel_l2
    for name, (own, inherited, tick) in rows.items():
        for shown, error in ((own, truth[name].local), (inherited, truth[name].inherited)):
            if error.is_exact:
                assert shown is None
            else:
                expected = (math.log2(error.rel_l2) - low) / (high - low)
                assert shown == pytest.approx(expected, abs=0.01), name
        if name == "stem":
            assert tick == pytest.approx((math.log2(floor) - low) / (high - low), abs=0.01)
    assert rows.keys() == {"stem", "relu", "head"}


def test_the_switches_choose_sort_filter_and_hide(browser, report):
    page = browser.open(report)
    assert names(page) == ["stem", "relu", "head"]
    press_switch(page, "layers", "Show 1 exact row")
    assert names(page) == ["(model)", "stem", "relu", "head"]
    press_switch(page, "layers", "Hide 1 exact row")
    press_switch(page, "layers", "worst first")
    assert names(page) == ["stem", "head", "relu"]
    press_switch(page, "layers", "Gradients")
    assert names(page) == ["stem · weight", "head · weight"]
    press_switch(page, "layers", "Forward")
    page.run(
        "(field => { field.focus(); field.value = 'hea[d]';"
        " field.dispatchEvent(new Event('input')); })(document.querySelector('#layers .filter'))"
    )
    page.settle()
    assert names(page) == ["head"]
    assert page.run("document.activeElement.value") == "hea[d]"
    again = browser.open(report, hash=page.run("location.hash"))
    assert names(again) == ["head"]
    assert names(again, "pairs") == ["(model)", "stem", "relu", "head"]


def test_an_address_that_asks_for_the_impossible_is_repaired(browser, report):
    page = browser.open(report, hash="#executor=9&direction=up&measure=x&sort=&exact=?&pair-sort=1")
    assert names(page) == ["stem", "relu", "head"]
    assert page.complaints() == []


def test_a_row_tells_all_its_numbers_to_pointer_and_keyboard(browser, report):
    page = browser.open(report)
    page.run("document.querySelector('#layers tbody tr').focus()")
    told = page.text(".tooltip")
    for number in ("own", "inherited", "total", "1 − cosine", "own error over FP32's", "100"):
        assert number in told
    page.press("ArrowDown")
    assert page.run("document.activeElement.querySelector('.name').textContent") == "relu"
    assert "decisions that came out otherwise" in page.text(".tooltip")
    assert page.run("document.querySelectorAll('#layers tr[tabindex=\"0\"]').length") == 1
    said = page.run("document.querySelector('#layers .track').getAttribute('aria-label')")
    assert said == "own 2^-13, inherited none, floor 2^-24"


def test_the_table_twin_holds_every_number(browser, report):
    page = browser.open(report)
    page.run("document.querySelector('#layers .twin-details').open = true")
    page.settle()
    head, *rows = page.run(
        "[...document.querySelectorAll('#layers .twin tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    by_name = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    truth = made.error(2.0**-13)
    assert float(by_name["stem"]["own: rms"]) == pytest.approx(truth.rms, rel=1e-5)
    assert float(by_name["stem"]["own: 1 − cosine"]) == pytest.approx(2.0**-26, rel=1e-5)
    assert by_name["relu"]["decisions flipped"] == "3"


def test_five_hundred_layers_stay_fluid(browser, large_report):
    page = browser.open(large_report)
    page.wait_for("document.querySelectorAll('#layers tbody tr').length === 500")
    page.run(
        "window.costs = []; const frame = requestAnimationFrame.bind(window);"
        "window.requestAnimationFrame = draw => frame(() => { const start = performance.now();"
        " draw(); document.body.offsetHeight; window.costs.push(performance.now() - start); })"
    )
    for at in (1, 2, 0):
        page.run(
            f"document.querySelectorAll('#layers [aria-label=direction] button')[{at}].click()"
        )
        page.settle()
    costs = page.run("window.costs.filter(cost => cost > 2)")
    assert min(costs) < 400  # ms of a switch; 130 on a core that others use too
    page.wait_for("document.querySelectorAll('#layers tbody tr').length === 500")
    assert page.run("document.querySelectorAll('#layers .profile rect').length") > 250
    page.run("document.querySelector('#verdict .evidence').click()")
    page.wait_for("document.activeElement.matches('#layers tr.start')")
    box = page.run(
        "(row => { const a = row.getBoundingClientRect(), b = row.closest('.rows')"
        ".getBoundingClientRect(); return a.top >= b.top && a.bottom <= b.bottom; })"
        "(document.activeElement)"
    )
    assert box is True
    assert page.complaints() == []


@pytest.mark.parametrize("width", [400, 900])
def test_the_page_fits_a_narrow_window(browser, report, width):
    page = browser.open(report, width=width, height=800)
    assert page.run("document.documentElement.scrollWidth") == width


def test_the_code_to_keep_layers_can_be_copied(browser, report):
    page = browser.open(report)
    assert page.text("#kept code").startswith("KEEP_IN_FP32 = [")
    page.run(
        "navigator.clipboard.writeText = async text => { window.copied = text; };"
        "document.querySelector('#kept .copy').click()"
    )
    page.settle()
    assert page.run("window.copied") == made.kept().snippet()
    assert page.text("#kept .copy") == "Copied"


def test_the_overview_can_be_saved_as_a_file(browser, large_report):
    page = browser.open(large_report)
    page.run(
        "window.saved = []; URL.createObjectURL = blob => { window.saved.push(blob); return '#'; };"
        "HTMLAnchorElement.prototype.click = () => {};"
        "for (const button of document.querySelectorAll('#layers .files button')) button.click()"
    )
    page.wait_for("window.saved.length >= 3")
    assert sorted(page.run("window.saved.map(blob => blob.type)")) == [
        *("image/png", "image/svg+xml", "text/csv;charset=utf-8")
    ]


def test_hostile_names_are_text(browser, folder):
    kinds = tuple((name, name) for name in HOSTILE_NAMES)
    compared = made.comparison((("", "Net"), *kinds), model="<img src=x onerror=window.__owned=1>")
    judged = made.verdict(compared, mechanism=made.Mechanism("x", False, *HOSTILE_NAMES[:2]))
    page = browser.open(
        build_comparison_report(
            compared,
            folder / "hostile.html",
            verdict=judged,
            kept=made.kept(layers=HOSTILE_NAMES, low=HOSTILE_NAMES[0]),
            pairs=made.pairs(first=HOSTILE_NAMES[0], environment=(HOSTILE_NAMES[:3],)),
            title="</title><script>window.__owned=1</script>",
        )
    )
    press_switch(page, "layers", "exact")
    page.run("document.querySelector('#layers tbody tr').focus()")
    assert page.run("window.__owned") is None
    assert page.run("document.querySelectorAll('main script, main img, main i.name').length") == 0
    assert "</title><script>" in page.text("h1")
    assert len(names(page)) == len(HOSTILE_NAMES) + 1
    assert page.complaints() == []
    assert page.requests() == []
    assert page.run("document.documentElement.scrollWidth") <= 1440


def test_a_clean_verdict_and_equal_executions(browser, folder):
    row = made.PairRow(("", 0), "Net", 0, "forward", made.EXACT, made.EXACT, False)
    rows = tuple(made.rows_of("fp32", 0.0, (("", "Net"), ("relu", "ReLU"))))
    compared = made.comparison(executors=("fp32",), rows=rows)
    page = browser.open(
        build_comparison_report(
            compared,
            folder / "clean.html",
            verdict=made.clean_verdict(),
            pairs=made.pairs(rows=(row,), only_first=(), shapes=()),
        )
    )
    assert "No layer of tf32 errs more than sound executions do." in page.text("#verdict")
    assert "are equal to the last bit" in page.text("#verdict")
    assert "All 2 rows are equal to the last bit." in page.text("#layers")
    assert page.run("document.querySelector('#unmatched')") is None
    assert page.complaints() == []


def test_a_damaged_page_says_so(browser, report, folder):
    text = report.read_text(encoding="utf-8").replace('"executors":', '"executers":')
    broken = folder / "broken.html"
    broken.write_text(text, encoding="utf-8")
    page = browser.open(broken, ready=".failure")
    assert "could not be shown" in page.text(".failure")
