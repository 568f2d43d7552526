"""The page of answers as a reader meets it: opened from disk in a real browser."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from deephochuli.analysis import Axis, Figure, Series
from deephochuli.report import Answer, build_sheets_report
from tests.conftest import find_chromium
from tests.e2e.browser import Browser, Page
from tests.e2e.synthetic import HOSTILE_NAMES
from tests.unit.report import sheets as made

pytestmark = pytest.mark.browser


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
    return tmp_path_factory.mktemp("sheets")


@pytest.fixture(scope="module")
def report(folder) -> Path:
    return build_sheets_report(made.answers(), folder / "studies.html", title="Two studies")


@pytest.fixture(scope="module")
def examined(folder) -> Path:
    return build_sheets_report([made.sheet()], folder / "examined.html", title="Net")


def page_of(folder: Path, name: str, figure: Figure) -> Path:
    sheet = made.sheet(figures=(figure,), tables=(), findings=())
    return build_sheets_report([sheet], folder / f"{name}.html", title=name)


def figure_id(key: str, sheet: str = "swamping") -> str:
    return f'[id="{sheet}.{key}"]'


def legend(page: Page, key: str) -> list[str]:
    """Names of the legend that are shown."""
    return page.run(
        f"[...document.querySelectorAll('{figure_id(key)} .entry[aria-pressed=true]')]"
        ".map(x => x.textContent)"
    )


def marks(page: Page, key: str) -> int:
    return page.run(f"document.querySelectorAll('{figure_id(key)} .stage .series').length")


def middle(page: Page, selector: str) -> tuple[float, float]:
    """Middle of an element on the screen."""
    return tuple(
        page.run(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
    )


def mouse(page: Page, kind: str, x: float, y: float, **more: object) -> None:
    page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 900, 1440])
def test_a_page_opens_from_disk_without_a_complaint_or_a_request(browser, report, theme, width):
    page = browser.open(report, theme=theme, width=width)
    assert page.run("document.documentElement.dataset.theme") == theme
    assert page.run("document.querySelectorAll('.stage svg').length") == 5
    assert page.run("document.documentElement.scrollWidth") == width
    wide = page.run(
        "[...document.querySelectorAll('.stage')].filter(x => x.scrollWidth > x.clientWidth).length"
    )
    assert wide == 0
    assert page.complaints() == []
    assert page.requests() == []


def test_the_summary_counts_and_lists_claims_by_verdict(browser, report):
    page = browser.open(report)
    assert "Verdicts on 7 claims: 3 confirmed, 2 refined, 1 refuted, 1 open." in page.text(".lede")
    filters = page.run("[...document.querySelectorAll('.filter-button')].map(x => x.innerText)")
    assert [text.split("\n")[-1].strip("✓≈✗? ") for text in filters] == [
        *("3 confirmed", "2 refined", "1 refuted", "1 open"),
    ]
    page.click(".filter-button:nth-child(2)")
    listed = page.run("[...document.querySelectorAll('.claim-list b')].map(x => x.textContent)")
    assert listed == [made.claims()[1].text] * 2
    assert page.run("location.hash") == "#verdict=refined"
    page.click(".filter-button:nth-child(2)")
    assert page.run("document.querySelectorAll('.claim-list li').length") == 0


def test_every_claim_stands_in_its_table(browser, report):
    page = browser.open(report)
    rows = page.run(
        "[...document.querySelectorAll('[id=\"swamping-claims\"] tbody tr')]"
        ".map(row => [...row.children].map(x => x.innerText))"
    )
    for row, claim in zip(rows, made.claims(), strict=True):
        assert row[0].endswith(claim.verdict)
        assert row[1].split("\n") == [claim.text, claim.source]
        assert row[2:] == [claim.expected, claim.measured, claim.because]


def test_links_and_keys_lead_to_sheets_and_back(browser, report):
    page = browser.open(report)
    page.click(".answers li:nth-child(2) .link")
    assert page.run("location.hash") == "#sheet=barrier"
    page.wait_for("Math.abs(document.getElementById('barrier').getBoundingClientRect().top) < 200")
    assert page.text(".bar [aria-current]") == "The probability barrier"
    page.press("p")
    assert page.run("location.hash") == "#sheet=swamping"
    page.run("history.back()")
    page.wait_for("location.hash === '#sheet=barrier'")
    page.press("s")
    page.wait_for("scrollY < 200")
    page.press("?")
    assert page.run("document.querySelector('dialog').open") is True
    assert "refuted" in page.text("dialog")
    page.press("?")
    assert page.run("document.querySelector('dialog').open") is False


def test_an_address_opens_the_sheet_it_names(browser, report):
    page = browser.open(report, hash="#sheet=barrier&verdict=open")
    page.wait_for("Math.abs(document.getElementById('barrier').getBoundingClientRect().top) < 200")
    assert page.run("document.querySelectorAll('.claim-list li').length") == 1


def test_an_address_that_asks_for_the_impossible_is_repaired(browser, report):
    hash = (
        "#sheet=nowhere&verdict=true&hidden=a:x,:,swamping.cutoff:99&zoom=swamping.cutoff,1&sort=x"
    )
    page = browser.open(report, hash=hash)
    assert len(legend(page, "cutoff")) == 5
    assert page.complaints() == []


def test_a_name_of_the_legend_hides_its_series(browser, examined):
    page = browser.open(examined)
    assert marks(page, "cutoff") == 5
    page.click(f"{figure_id('cutoff')} .entry:nth-child(4)")
    assert legend(page, "cutoff") == [
        *("expected range", "1 / (2 N p(0))", "FP64", "spacing of FP32 at the bias"),
    ]
    assert marks(page, "cutoff") == 4
    again = browser.open(examined, hash=page.run("location.hash"))
    assert marks(again, "cutoff") == 4
    assert marks(again, "layers") == 2
    again.run(
        f"document.querySelector('{figure_id('cutoff')} .entry:nth-child(3)')"
        ".dispatchEvent(new MouseEvent('click', {shiftKey: true}))"
    )
    again.settle()
    assert legend(again, "cutoff") == ["FP64"]


def test_numbers_are_told_to_the_pointer(browser, folder):
    figure = Figure(
        "f", "t", Axis("steps"), Axis("loss", "log2"),
        (Series("a", (1.0, 2.0, 3.0), (0.5, 0.25, 3e-8), (0.4, 0.2, 2e-8), (0.6, 0.3, 4e-8),
                note="a note"), Series("b", (2.0,), (0.26,), mark="bars")),
    )  # fmt: skip
    page = browser.open(page_of(folder, "pointer", figure))
    x, y = page.run(
        f"(box => [box.x, box.y])(document.querySelector('{figure_id('f')} .stage svg')"
        ".getBoundingClientRect())"
    )
    page.run(f"document.querySelector('{figure_id('f')} .stage svg').focus()")
    page.press("ArrowRight")
    assert page.text(".tooltip").split("\n") == ["steps: 1", "a", "0.5 = 2⁻¹ (0.4 – 0.6)", "a note"]
    page.press("ArrowRight")
    told = page.text(".tooltip").split("\n")
    assert told[0] == "steps: 2"
    assert {"a", "b", "0.25 = 2⁻² (0.2 – 0.3)", "0.26 = 2^−1.9"} <= set(told)
    page.press("Escape")
    assert page.run("document.querySelector('.tooltip').hidden") is True
    ring = f"document.querySelector('{figure_id('f')} .stage svg > circle')"
    cx, cy = page.run(f"[+{ring}.getAttribute('cx'), +{ring}.getAttribute('cy')]")
    mouse(page, "mouseMoved", x + cx + 3, y + cy + 3)
    assert page.text(".tooltip").startswith("steps: 2")
    assert page.run(f"{ring}.getAttribute('visibility')") == "visible"


def test_a_drag_looks_closer_and_the_address_keeps_it(browser, examined):
    page = browser.open(examined)
    chart = f"{figure_id('cutoff')} .stage svg"
    page.run(f"document.querySelector('{chart}').scrollIntoView({{block: 'center'}})")
    page.settle()
    x, y = middle(page, chart)
    mouse(page, "mousePressed", x - 60, y - 60, button="left", clickCount=1)
    mouse(page, "mouseMoved", x + 60, y + 40, button="left")
    mouse(page, "mouseReleased", x + 60, y + 40, button="left", clickCount=1)
    page.settle()
    hash = page.run("location.hash")
    assert hash.startswith("#zoom=swamping.cutoff%2C")
    assert page.text(f"{figure_id('cutoff')} .panel-controls") == "Whole figure"
    again = browser.open(examined, hash=hash)
    assert again.text(f"{figure_id('cutoff')} .panel-controls") == "Whole figure"
    again.click(f"{figure_id('cutoff')} .panel-controls button")
    assert again.run("location.hash") == ""


def test_points_stand_where_their_numbers_say(browser, folder):
    n = (1.0, 10.0, 100.0)
    figure = Figure("f", "t", Axis("n", "log10"), Axis("y", "log10"), (Series("s", n, n),))
    page = browser.open(page_of(folder, "places", figure))
    d = page.run(f"document.querySelector('{figure_id('f')} .series path:last-child')"
                 ".getAttribute('d')")  # fmt: skip
    spots = [tuple(map(float, part.split("a")[0].split())) for part in d.split("M")[1:]]
    (x0, y0), (x1, y1), (x2, y2) = spots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.3)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.3)
    assert x1 - x0 > 100
    assert y0 - y1 > 50


def test_zero_stands_apart_on_a_logarithmic_axis_and_negative_numbers_are_counted(browser, folder):
    series = Series("s", (1.0, 2.0, 3.0), (0.0, 0.1, -1.0), (0.0, 0.05, -2.0), (0.01, 0.2, -0.5))
    figure = Figure("f", "t", Axis("x"), Axis("y", "log10"), (series,))
    page = browser.open(page_of(folder, "zero", figure))
    words = page.run(
        f"[...document.querySelectorAll('{figure_id('f')} .stage text')].map(x => x.textContent)"
    )
    assert "0" in words
    assert "no place on a logarithmic axis" in page.text(f"{figure_id('f')} .stage")
    assert page.complaints() == []


def test_categories_become_rows_where_their_names_do_not_fit(browser, examined):
    page = browser.open(examined)
    sizes = {
        key: page.run(f"document.querySelector('{figure_id(key)} .stage svg')"
                      ".getAttribute('height')")
        for key in ("layers", "bars")
    }  # fmt: skip
    assert int(sizes["bars"]) == 350
    assert int(sizes["layers"]) > 14 * 22
    names = page.run(
        f"[...document.querySelectorAll('{figure_id('layers')} .stage text')]"
        ".map(x => x.textContent)"
    )
    assert set(made.LAYERS) <= set(names)


def test_a_table_is_sorted_and_searched(browser, examined):
    page = browser.open(examined)
    rows = (
        "[...document.querySelectorAll('.sheet-table tbody tr')].map(row => row.cells[0].innerText)"
    )
    table = '[id="swamping.table.rows"]'
    assert page.run(rows) == [*made.LAYERS, "last"]
    page.click(f"{table} thead th:nth-child(5) button")
    assert page.run(rows)[0] == made.LAYERS[13]
    assert page.run(rows)[-2:] == [made.LAYERS[2], "last"]  # not measured
    assert page.run(f"document.querySelector('{table} [aria-sort]').ariaSort") == "descending"
    page.click(f"{table} thead th:nth-child(5) button")
    assert page.run(rows)[0] == made.LAYERS[0]
    again = browser.open(examined, hash=page.run("location.hash"))
    assert again.run(rows)[1] == made.LAYERS[1]


def test_a_long_table_can_be_searched(browser, folder):
    many = tuple((f"layer {i}", i) for i in range(200))
    table = made.Table("t", "Many", ("layer", "n"), many)
    sheet = made.sheet(figures=(), tables=(table,), findings=())
    page = browser.open(build_sheets_report([sheet], folder / "many.html", title="t"))
    assert page.run("document.querySelectorAll('.sheet-table tbody tr').length") == 200
    page.run(
        "(field => { field.value = 'LAYER 19'; field.dispatchEvent(new Event('input')); })"
        "(document.querySelector('.sheet-table .filter'))"
    )
    assert page.run("document.querySelectorAll('.sheet-table tbody tr').length") == 11
    assert "11 of 200 rows" in page.text(".sheet-table .panel-controls")


def test_the_table_behind_a_figure_holds_its_numbers(browser, examined):
    page = browser.open(examined)
    page.run(f"document.querySelector('{figure_id('bars')} .twin-details').open = true")
    page.settle()
    head, *rows = page.run(
        f"[...document.querySelectorAll('{figure_id('bars')} .twin tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert head == ["series", "format", "units", "low", "high"]
    assert rows[4] == ["by rounding", "BF16", "3", "1.5", "5.5"]


def test_figures_and_tables_are_saved_as_files(browser, examined):
    page = browser.open(examined)
    page.run(
        "window.saved = []; URL.createObjectURL = blob => { window.saved.push(blob); return '#'; };"
        "HTMLAnchorElement.prototype.click = () => {};"
        f"for (const x of document.querySelectorAll('{figure_id('cutoff')} .files button'))"
        " x.click(); document.querySelector('.sheet-table .panel-controls button').click()"
    )
    page.wait_for("window.saved.length >= 4")
    assert sorted(page.run("window.saved.map(blob => blob.type)")) == [
        *("image/png", "image/svg+xml", "text/csv;charset=utf-8", "text/csv;charset=utf-8")
    ]
    drawn = page.run("window.saved.find(blob => blob.type === 'image/svg+xml').text()")
    for piece in ("The smallest pre-activation seen falls", "expected range", "FP64"):
        assert piece in drawn
    assert "var(--" not in drawn
    tables = page.run(
        "Promise.all(window.saved.filter(blob => blob.type.startsWith('text')).map(x => x.text()))"
    )
    (table,) = [text for text in tables if "absorbed" in text]
    lines = table.strip().split("\r\n")
    assert lines[0] == "layer,K,absorbed,exact,bits"
    assert lines[2] == f"{made.LAYERS[1]},4,0.15,no,1.5"
    assert lines[-1] == "last,3,Infinity,yes,"


def test_a_finding_shows_its_number_with_its_interval(browser, examined):
    page = browser.open(examined)
    text = page.text(".finding")
    for piece in ("Warning", made.finding().title, "lost mass", "10", "8–13"):
        assert piece in text


def test_hostile_names_are_text(browser, folder):
    figure = Figure(
        "f", HOSTILE_NAMES[0], Axis(HOSTILE_NAMES[1], "category"), Axis(HOSTILE_NAMES[2]),
        tuple(Series(name, HOSTILE_NAMES, (1.0,) * len(HOSTILE_NAMES), note=name)
              for name in HOSTILE_NAMES),
    )  # fmt: skip
    table = made.Table("t", HOSTILE_NAMES[0], HOSTILE_NAMES, (HOSTILE_NAMES,), HOSTILE_NAMES[1])
    finding = replace(made.finding(), title=HOSTILE_NAMES[0], layer=HOSTILE_NAMES[1])
    sheet = made.sheet(
        title=HOSTILE_NAMES[0], question=HOSTILE_NAMES[1], answer=" ".join(HOSTILE_NAMES),
        findings=(finding,), figures=(figure,), tables=(table,), notes=HOSTILE_NAMES,
    )  # fmt: skip
    names = HOSTILE_NAMES[:6]
    claim = made.Claim(names[0], names[1], names[2], names[3], "open", names[4])
    page = browser.open(
        build_sheets_report(
            [Answer(sheet, (claim,))],
            folder / "hostile.html",
            title="</title><script>window.__owned=1</script>",
            lede="<img src=x onerror=window.__owned=1>",
        ),
        hash="#verdict=open",
    )
    page.run(f"document.querySelector('{figure_id('f')} .stage svg').focus()")
    page.press("ArrowRight")
    page.run(f"document.querySelector('{figure_id('f')} .twin-details').open = true")
    page.settle()
    assert page.run("window.__owned") is None
    assert page.run("document.querySelectorAll('main script, main img').length") == 0
    assert "</title><script>" in page.text("h1")
    assert page.complaints() == []
    assert page.requests() == []
    assert page.run("document.documentElement.scrollWidth") <= 1440


def test_many_numbers_are_drawn_by_what_pixels_can_tell_apart(browser, folder):
    n = 20_000
    x = tuple(i / n for i in range(n))
    y = tuple(math.sin(20 * v) for v in x)
    series = (Series("s", x, y), Series("l", x, y, mark="line"))
    page = browser.open(page_of(folder, "large", Figure("f", "t", Axis("x"), Axis("y"), series)))
    sizes = page.run(
        f"[...document.querySelectorAll('{figure_id('f')} .series path')]"
        ".map(path => path.getAttribute('d').length)"
    )
    assert max(sizes) < 150_000  # three times as much with all of them
    cloud = f"document.querySelector('{figure_id('f')} .series path:last-child').getBBox()"
    width, height = page.run(f"[{cloud}.width, {cloud}.height]")
    assert width > 800
    assert height > 250
    assert page.complaints() == []


def test_paper_is_light_whatever_the_screen_is(browser, report):
    page = browser.open(report, theme="dark")
    ink = f"document.querySelector('{figure_id('cutoff')} .stage text').getAttribute('fill')"
    dark = page.run(ink)
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.documentElement.dataset.theme") == "light"
    assert page.run(ink) != dark
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run(ink) == dark


def test_a_page_of_one_answer_has_no_summary(browser, examined):
    page = browser.open(examined)
    assert page.run("document.querySelector('#summary')") is None
    assert page.text(".kicker").lower() == "questions about a model"
    page.press("s")
    assert page.complaints() == []


def test_a_damaged_page_says_so(browser, report, folder):
    text = report.read_text(encoding="utf-8").replace('"answers":', '"answer":')
    broken = folder / "broken.html"
    broken.write_text(text, encoding="utf-8")
    page = browser.open(broken, ready=".failure")
    assert "could not be shown" in page.text(".failure")
