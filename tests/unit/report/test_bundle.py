"""The page is one file of many plain modules, and its policy allows exactly what it holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import deephochuli.report as report_package
from deephochuli.report._bundle import STYLES, joined_script, joined_style, page_source, policy
from deephochuli.report._html import json_for_script, render_page
from tests.e2e.synthetic import HOSTILE_NAMES
from tests.unit.report.node import call_all

PAGE = Path(report_package.__file__).parent / "page"
MODULES = sorted(PAGE.glob("*.mjs"))


class Elements(HTMLParser):
    """Scripts and styles of a page, and the tags that it holds."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open = True
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def contents(self, tag: str, **attributes: str) -> list[str]:
        return [
            text
            for name, found, text in self.found
            if name == tag and attributes.items() <= found.items()
        ]


@pytest.fixture(scope="module")
def page() -> str:
    payload = {"names": list(HOSTILE_NAMES)}
    return render_page('</title><script>alert("x")</script>', "deephochuli", payload, "AAAA")


def places_in(script: str) -> dict[str, int]:
    """Where each module stands in a script; those that are not in it are left out."""
    places = {path.stem: script.find(f"const ${path.stem} = (() => {{") for path in MODULES}
    return {name: place for name, place in places.items() if place >= 0}


@pytest.mark.parametrize("page", STYLES)
def test_every_module_is_in_the_script_once_and_before_it_is_used(page):
    script = joined_script(page)
    places = places_in(script)
    assert max(places, key=lambda name: places[name]) == page
    assert all(script.count(f"const ${name} = ") == 1 for name in places)
    for name in places:
        for used in re.findall(r'from "\./([a-z_]+)\.mjs"', page_source(f"{name}.mjs")):
            assert places[used] < places[name], f"{name} uses {used}"


def test_every_module_and_style_is_in_some_page():
    used = set().union(*(places_in(joined_script(page)) for page in STYLES))
    assert used == {path.stem for path in MODULES}
    assert set().union(*STYLES.values()) == {path.name for path in PAGE.glob("*.css")}


@pytest.mark.parametrize("page", STYLES)
def test_no_import_or_export_is_left_in_the_script(page):
    assert not re.search(r"^(?:import|export)\b", joined_script(page), re.MULTILINE)


def test_no_text_of_a_module_spans_lines():
    for path in MODULES:
        for line in path.read_text("utf-8").splitlines():
            assert line.count("`") % 2 == 0 or line.lstrip().startswith("*"), (path.name, line)


def test_every_import_names_an_export():
    for path in MODULES:
        for names, used in re.findall(
            r'^import \{([^}]*)\} from "\./([a-z_]+)\.mjs";$', path.read_text("utf-8"), re.MULTILINE
        ):
            source = page_source(f"{used}.mjs")
            for name in filter(None, (part.strip() for part in names.split(","))):
                found = re.search(
                    rf"^export (?:async function|function|class|const) {name}\b", source, re.M
                )
                assert found, f"{path.name} imports {name} from {used}.mjs"


def test_names_never_become_markup():
    for path in MODULES:
        text = path.read_text("utf-8")
        for danger in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert danger not in text, f"{danger} in {path.name}"


def test_the_page_asks_no_network():
    source = "".join(path.read_text("utf-8") for path in PAGE.iterdir())
    known = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s\"'`)]+", source)) == known
    for word in (
        "XMLHttpRequest",
        "WebSocket",
        "EventSource",
        "importScripts",
        "@import",
        "Beacon",
    ):
        assert word not in source
    asking = [path.name for path in PAGE.iterdir() if "fetch(" in path.read_text("utf-8")]
    assert asking == ["live_link.mjs"]
    assert [page for page in STYLES if "$live_link" in joined_script(page)] == ["live"]


@pytest.mark.parametrize("page", STYLES)
def test_the_code_is_small(page):
    assert len(joined_script(page)) + len(joined_style(page)) < 170_000


def test_the_policy_allows_exactly_the_scripts_and_styles_of_the_page(page):
    elements = Elements(page)
    scripts = [
        text
        for tag, attributes, text in elements.found
        if tag == "script" and attributes.get("type") in (None, "module")
    ]
    (rules,) = [
        str(attributes["content"])
        for tag, attributes, _ in elements.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    wanted = policy(scripts, elements.contents("style"))
    assert rules == wanted
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    assert "http" not in rules
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in rules


def test_hostile_text_stays_inside_its_place(page):
    elements = Elements(page)
    assert elements.contents("title") == ['</title><script>alert("x")</script>']
    (payload,) = elements.contents("script", id="payload")
    assert "<" not in payload
    assert json.loads(payload) == {"names": list(HOSTILE_NAMES)}
    assert elements.tags.count("script") == 4
    assert "img" not in elements.tags


def test_json_for_a_script_refuses_what_json_cannot_hold():
    with pytest.raises(ValueError, match="JSON compliant"):
        json_for_script({"x": float("nan")})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('=HYPERLINK("http://x")', '"\'=HYPERLINK(""http://x"")"'),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("a,b", '"a,b"'),
        ('a"b', '"a""b"'),
        ("a\nb", '"a\nb"'),
        ("plain", "plain"),
        (-1.5, "-1.5"),
        (float("nan"), ""),
    ],
)
def test_a_csv_cell_is_never_a_formula(value, expected):
    assert call_all("download", [("csvCell", [value])]) == [expected]


def test_numbers_are_never_rounded_to_an_end():
    shares = [0.0, 1.0, 0.99999, 1e-9, 0.5, 0.12345]
    texts = call_all("numbers", [("percent", [share]) for share in shares])
    assert [text.replace("\u202f", " ") for text in texts] == [
        "0 %",
        "100 %",
        ">99.99 %",
        "1·10⁻⁷ %",
        "50 %",
        "12.3 %",
    ]


def test_a_number_above_a_thousand_is_written_out():
    values = [999.4, 1820.0, 12345.6, -4321.0, 99999.0, 123456.0, 0.5]
    texts = call_all("numbers", [("decimal", [value]) for value in values])
    assert [text.replace("\u202f", " ") for text in texts] == [
        *("999", "1 820", "12 300", "−4 320", "100 000", "1.23·10⁵", "0.5"),
    ]


def test_a_view_survives_the_address():
    home = {
        "run": 0, "shown": [0, 1, 2], "base": 0, "layer": "a", "quantity": "dw",
        "metric": "unmoved", "format": "fp16", "from": None, "to": None, "at": None,
        "ridges": "offset", "filter": "",
    }  # fmt: skip
    view = home | {
        "run": 2, "shown": [0, 2], "layer": "=a&b#c \u202e%", "from": 10, "to": 20, "at": 15,
        "filter": "conv[12]|fc",
    }  # fmt: skip
    (address,) = call_all("state", [("toHash", [view, home])])
    assert call_all("state", [("fromHash", [address, home])]) == [view]
    assert call_all("state", [("toHash", [home, home])]) == ["#"]
    assert call_all("state", [("fromHash", ["#evil=1&run=x&__proto__=y", home])]) == [home]
