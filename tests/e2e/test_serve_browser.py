"""The live page as a reader meets it: in a real browser, while runs are recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deephochuli.live import LiveServer
from deephochuli.store import open_run
from tests.conftest import find_chromium
from tests.e2e.browser import Browser, Page
from tests.e2e.large_run import write_large_run
from tests.e2e.synthetic import HOSTILE_NAMES, Shape, write_run
from tests.unit.live.conftest import Growing

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parent / "scripts" / "slow_training.py"
WAITING = ".loading .live"
MOST_MS = 100.0


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


def asked_of_others(page: Page, server: LiveServer) -> list[str]:
    """Requests of a page to anybody but its own server."""
    own = f"http://{urlsplit(server.url).netloc}/"
    return [address for address in page.requests() if not address.startswith(own)]


def recorded(page: Page) -> int:
    """Recorded steps that the page says it shows."""
    return int(page.text(".lede").split()[0])


def view_of(page: Page) -> dict:
    """Where the reader is, and what is open."""
    return page.run(
        "({hash: location.hash, theme: document.documentElement.dataset.theme,"
        " layer: document.querySelector('#map [font-weight=\"650\"]')?.dataset.layer,"
        " details: document.querySelector('.finding details').open,"
        " twin: document.querySelector('#map .twin-details').open,"
        " search: document.getElementById('search').value,"
        " quantity: document.querySelector('#map select').value})"
    )


def test_the_page_follows_a_real_recording_and_leaves_the_reader_alone(browser, tmp_path):
    folder, stop = tmp_path / "training", tmp_path / "stop"
    with LiveServer([folder], seconds=0.1) as server:
        page = browser.open(server.url, ready=WAITING)
        page.wait_for("document.body.innerText.includes('There is no run folder')")
        command = [sys.executable, str(SCRIPT), str(folder), str(stop)]
        training = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            page.wait_for("document.documentElement.dataset.ready === 'yes'")
            assert page.text("#live summary").startswith("live · last chunk")
            page.choose("#map select", "w")
            page.press("ArrowDown")
            page.run("location.hash += '&from=3&to=20&at=7'")
            page.click(".icon[title='Light or dark']")
            page.run(
                "document.querySelector('.finding details').open = true;"
                "document.querySelector('#map .twin-details').open = true;"
                "document.getElementById('search').value = 'half a wo'"
            )
            page.settle()
            before, seen = view_of(page), [recorded(page)]
            assert before["theme"] == "dark"
            assert "at=7" in before["hash"]
            for _ in range(2):
                page.wait_for(f"parseInt(document.querySelector('.lede').innerText) > {seen[-1]}")
                seen.append(recorded(page))
            page.settle()
            assert view_of(page) == before
        finally:
            stop.touch()
            assert training.wait(60) == 0
        n_steps = len(open_run(folder).steps["step"])
        page.wait_for("document.getElementById('live').dataset.phase === 'ended'")
        page.wait_for(f"parseInt(document.querySelector('.lede').innerText) === {n_steps}")
        assert view_of(page) == before
        assert page.complaints() == []
        assert asked_of_others(page, server) == []


def test_runs_stand_side_by_side_and_one_that_begins_later_joins(browser, tmp_path):
    runs = [Growing(tmp_path / "first")]
    runs[0].grow(2)
    with LiveServer([tmp_path / "second", tmp_path / "first"], seconds=0.05) as server:
        page = browser.open(server.url, hash="#quantity=g")
        maps = "document.querySelectorAll('#map .maps > svg').length"
        assert page.run(maps) == 1
        assert page.run("document.getElementById('compare').hidden") is True
        layer = "document.querySelector('#map [font-weight=\"650\"]').dataset.layer"
        page.press("ArrowDown")
        chosen = page.run(layer)
        runs.append(Growing(tmp_path / "second"))
        runs[1].grow(3)
        page.wait_for(f"{maps} === 2")
        page.settle()
        names = page.run("[...document.querySelectorAll('.run')].map(run => run.innerText)")
        assert names == ["second", "first"]
        assert page.run("document.getElementById('compare').hidden") is False
        assert page.run("document.querySelectorAll('#compare svg').length") > 1
        assert page.run(layer) == chosen
        assert page.run("location.hash").count("shown") == 0
        both = "12 recorded steps of second, 8 recorded steps of first"
        page.wait_for(f"document.querySelector('.lede').innerText.startsWith('{both}')")
        page.click("#live summary")
        rows = page.run("[...document.querySelectorAll('#live tbody tr')].map(r => r.innerText)")
        assert [row.split()[:3] for row in rows] == [
            ["second", "recording", "12"],
            ["first", "recording", "8"],
        ]
        for run in runs:
            run.end()
        page.wait_for("document.getElementById('live').dataset.phase === 'ended'")
        assert page.complaints() == []
        assert asked_of_others(page, server) == []


COVERED = """
[...document.querySelectorAll('.finding:has(> .evidence)')].filter(finding => {
  const button = finding.querySelector('.evidence').getBoundingClientRect();
  const words = document.createRange();
  words.selectNodeContents(finding.querySelector('h3'));
  return [...words.getClientRects()].some(line =>
    line.right > button.left && line.top < button.bottom && line.bottom > button.top);
}).length
"""


@pytest.mark.parametrize("width", [800, 1280])
def test_nothing_is_cut_or_covered_and_notes_are_read_in_full(browser, tmp_path, width):
    long = Growing(tmp_path / "an-experiment-with-a-rather-long-name-of-november-2026")
    crashed = Growing(tmp_path / "crashed")
    for run in (long, crashed):
        run.grow(2)
    crashed.end(RuntimeError("out of memory, somewhere " + "far " * 30 + "down"))
    with LiveServer([long.folder, crashed.folder], seconds=0.05) as server:
        page = browser.open(server.url, width=width, height=900)
        page.wait_for("document.querySelectorAll('.run').length === 2")
        assert "1 note" in page.text("#live summary")
        page.click("#live summary")
        assert "RuntimeError: out of memory" in page.text("#live tbody")
        right = page.run("document.querySelector('#live table').getBoundingClientRect().right")
        assert right <= width
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelector('.brush').getBoundingClientRect().right") <= width
        assert page.run(COVERED) == 0
    long.end()


def test_hostile_names_stay_names(browser, tmp_path):
    shape = Shape(
        layers=HOSTILE_NAMES, n_steps=2, n_elements=64, n_channels=4, command=HOSTILE_NAMES
    )
    run = write_run(tmp_path / "<img src=x onerror=window.__owned=1>", shape)
    with LiveServer([run], seconds=0.05) as server:
        page = browser.open(server.url)
        for key in ("ArrowDown", "ArrowRight", "]"):
            page.press(key)
        page.click("#live summary")
        assert page.run("window.__owned") is None
        assert page.run("document.querySelectorAll('img, iframe, object, base, form').length") == 1
        assert page.run("document.querySelectorAll('script').length") == 2
        assert page.complaints() == []
        assert asked_of_others(page, server) == []


def test_a_lost_connection_is_said_and_found_again(browser, tmp_path):
    growing = Growing(tmp_path / "run")
    growing.grow()
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with LiveServer([growing.folder], seconds=0.05) as server:
        page = browser.open(server.url)
        page.send("Network.emulateNetworkConditions", **offline)
        page.wait_for("document.getElementById('live').dataset.phase === 'lost'")
        assert page.text("#live summary").startswith("connection lost · next try in")
        growing.grow()
        page.send("Network.emulateNetworkConditions", **{**offline, "offline": False})
        page.click("#live button")
        page.wait_for("document.getElementById('live').dataset.phase === 'recording'")
        growing.end()
        page.wait_for("parseInt(document.querySelector('.lede').innerText) === 8")
    page.click("#live summary")
    page.wait_for("document.getElementById('live').dataset.phase === 'lost'")
    port = urlsplit(server.url).port
    with LiveServer([growing.folder], port=port or 0, seconds=0.05):
        page.click("#live button")
        page.wait_for("document.getElementById('live').innerText.includes('another server')")


def test_others_pages_get_nothing(browser, tmp_path):
    growing = Growing(tmp_path / "run")
    growing.grow()
    with LiveServer([growing.folder], seconds=0.05) as server:
        other = browser.open("about:blank", ready="html")
        token = server.url.partition("token=")[2]
        address = f"http://{urlsplit(server.url).netloc}/state"
        for options in (
            {},
            {"mode": "no-cors"},
            {"headers": {"Authorization": f"Bearer {token}"}},
        ):
            got = other.run(
                f"fetch({json.dumps(address)}, {json.dumps(options)})"
                ".then(answer => answer.text(), () => 'refused')"
            )
            assert got in ("refused", "")
    growing.end()


def test_an_address_without_the_token_shows_no_page(browser, tmp_path):
    with LiveServer([tmp_path / "run"], seconds=0.05) as server:
        page = browser.open(server.url.partition("?")[0], ready="pre")
        assert "Open the address that was printed." in page.text()


def test_the_keyboard_keeps_its_place_when_the_page_is_drawn_anew(browser, tmp_path):
    growing = Growing(tmp_path / "run")
    growing.grow()
    with LiveServer([growing.folder], seconds=0.05) as server:
        page = browser.open(server.url)
        focused = "[document.activeElement.tagName, document.activeElement.innerText]"
        page.run("document.querySelector('#exponents .segmented button:nth-child(2)').focus()")
        assert page.run(focused) == ["BUTTON", "overlay"]
        growing.grow()
        growing.end()
        page.wait_for("parseInt(document.querySelector('.lede').innerText) === 8")
        page.settle()
        assert page.run(focused) == ["BUTTON", "overlay"]


READY = """
window.paint = () => new Promise(done => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = done;
  channel.port2.postMessage(0);
}));
window.timed = async act => {
  const began = performance.now();
  act();
  await paint();
  return performance.now() - began;
};
window.point = (target, kind, x, y) =>
  target.dispatchEvent(new PointerEvent(kind, { clientX: x, clientY: y, bubbles: true }));
window.at = share => [box.left + 8 + share * (box.width - 16), box.top + 12];
window.look = async (id, selector) => {
  document.getElementById(id).scrollIntoView({ behavior: "instant" });
  await new Promise(done => setTimeout(done, 500));
  window.target = document.querySelector(selector);
  window.box = target.getBoundingClientRect();
};
"""


def scrub(page: Page) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds from events to the painted frame, and of processor time for it, by kind.

    The processor's time is that of the page's main thread, whatever else the machine does.
    """

    def spent() -> float:
        metrics = page.send("Performance.getMetrics")["metrics"]
        return next(1000 * m["value"] for m in metrics if m["name"] == "TaskDuration")

    def measure(act: str) -> tuple[float, float]:
        before = spent()
        return page.run(f"timed(() => {{ {act} }})"), spent() - before

    times: dict[str, list[tuple[float, float]]] = {}
    page.run("look('map', '#map .maps svg')")
    key = "dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))"
    times["step"] = [measure(key) for _ in range(40)]
    times["pointer"] = [
        measure(f"point(target, 'pointermove', box.left + 200 + 20 * {i}, box.top + 40)")
        for i in range(30)
    ]
    for panel in ("map", "exponents", "updates"):
        page.run(f"look({panel!r}, '.brush svg')")
        page.run("point(target, 'pointerdown', ...at(0.05))")
        times[f"window, {panel}"] = [
            measure(f"point(window, 'pointermove', ...at({0.1 + 0.04 * i}))") for i in range(20)
        ]
        page.run("point(window, 'pointerup', ...at(1))")
    return times


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


@pytest.mark.slow
def test_ten_thousand_steps_are_scrubbed_smoothly(browser, tmp_path):
    """Every kind of scrubbing, in time and in processor time, which other programs do not change.

    Time is asserted only where there is a processor for the page: the best of three rounds.
    """
    folder = write_large_run(tmp_path / "long", n_layers=4, n_steps=10_000)
    with LiveServer([folder]) as server:
        page = browser.open(server.url)
        assert recorded(page) == 10_000
        page.run(READY)
        page.send("Performance.enable", timeDomain="threadTicks")
        waits: list[float] = []
        for _ in range(3):
            times = scrub(page)
            busy = os.getloadavg()[0] / (os.cpu_count() or 1)
            wall = {kind: p95([ms for ms, _ in found]) for kind, found in times.items()}
            work = {kind: p95([ms for _, ms in found]) for kind, found in times.items()}
            print(f"load {busy:.1f} a processor")
            for kind in times:
                print(f"{kind:20} p95 {wall[kind]:5.0f} ms, of the processor {work[kind]:5.1f} ms")
            assert max(work.values()) < MOST_MS
            if busy < 1:
                waits.append(max(wall.values()))
                if waits[-1] < MOST_MS:
                    break
        assert not waits or min(waits) < MOST_MS
        assert page.complaints() == []
