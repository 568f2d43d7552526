"""Panels are drawn only when they must be, and then show what a page opened at that view shows."""

from __future__ import annotations

import pytest

from deephochuli.report import build_report
from tests.conftest import find_chromium
from tests.e2e.browser import Browser, Page
from tests.e2e.synthetic import Shape, write_run

pytestmark = pytest.mark.browser

VIEWS = (
    "layer=b.weight&quantity=dw&metric=unmoved",
    "layer=b.weight&quantity=dw&metric=unmoved&at=15",
    "layer=a.relu&quantity=z&at=15",
    "layer=a.relu&quantity=z&at=15&from=10&to=40",
    "layer=a.relu&quantity=z&format=fp8_e4m3fn&from=10&to=40",
    "layer=a.relu&quantity=z&format=fp8_e4m3fn&ridges=bands&filter=a",
    "layer=a.relu&quantity=z&format=fp8_e4m3fn&ridges=bands&filter=a&shown=1",
    "layer=a.relu&quantity=z&format=fp8_e4m3fn&ridges=bands&shown=1&base=1",
)
DRAWN = (
    "[document.querySelector('.bar.second'), ...document.querySelectorAll('main > section')]"
    ".map(part => part.outerHTML.replaceAll(' open=\"\"', ''))"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found on PATH")
    with Browser(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    runs = [
        write_run(root / dtype, Shape(dtype, ("a", "b"), n_steps=12, n_elements=96, n_channels=6))
        for dtype in ("bfloat16", "float16")
    ]
    return build_report(runs, root / "report.html")


def go(page: Page, view: str) -> None:
    page.run(f"location.hash = {view!r}")
    page.run("new Promise(done => setTimeout(done))")  # the change of the address is an event
    page.settle()


def test_a_changed_view_is_drawn_as_if_the_page_were_opened_there(browser, report):
    page = browser.open(report)
    drawn = []
    for view in VIEWS:
        go(page, view)
        drawn.append(page.run(DRAWN))
    assert len({str(parts) for parts in drawn}) == len(VIEWS)
    for view, parts in zip(VIEWS, drawn, strict=True):
        fresh = browser.open(report, hash=f"#{view}")
        fresh.settle()
        for found, expected in zip(parts, fresh.run(DRAWN), strict=True):
            assert found == expected, view
    browser.close_pages()


def test_what_does_not_concern_a_panel_leaves_it_alone(browser, report):
    page = browser.open(report, hash=f"#{VIEWS[0]}")
    page.settle()
    page.run(
        "window.changed = new Set();"
        "for (const part of document.querySelectorAll('main > section'))"
        " new MutationObserver(() => changed.add(part.id))"
        ".observe(part, { childList: true, subtree: true })"
    )
    go(page, VIEWS[1])
    assert set(page.run("[...changed]")) == {"map", "updates", "compare"}  # they mark the step
    page.run("changed.clear()")
    page.click(".icon[title='Light or dark']")
    assert len(page.run("[...changed]")) >= 8  # all of them, in other colours
    browser.close_pages()
