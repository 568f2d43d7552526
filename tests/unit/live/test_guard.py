"""Who may ask what, request by request, without a socket."""

from __future__ import annotations

import json
from email.message import Message

import pytest

from deephochuli.live._board import NO_PULSE, Part, RunState, Snapshot
from deephochuli.live._guard import Answer, Desk, Request, answer, is_token

KEY = "Z" * 43
PORT = 40123
RUNS = (
    RunState("first", "recording", "", NO_PULSE, Part(3, b'{"version":3}')),
    RunState("second", "waiting", "There is no run folder yet.", NO_PULSE, None),
)
DESK = Desk(KEY, ("<!doctype html>", "default-src 'none'"), lambda: (Snapshot(RUNS, 5.0), 7.0))
BEARER = {"Authorization": f"Bearer {KEY}"}


def ask(target: str = "/state", method: str = "GET", **fields: str | list[str] | None) -> Answer:
    """The answer to a request that would be let through, with some header fields changed."""
    given = {"Host": f"127.0.0.1:{PORT}", **BEARER}
    given |= {name.replace("_", "-"): value for name, value in fields.items()}
    headers = Message()
    for name, value in given.items():
        for each in [value] if isinstance(value, str) else value or []:
            headers[name] = each
    return answer(Request(method, target, headers), DESK)


def test_the_page_its_state_and_its_data():
    assert ask("/").body == b"<!doctype html>"
    assert ask(f"/?token={KEY}", Authorization=None).status == 200
    assert ask("/runs/0").body == b'{"version":3}'
    state = json.loads(ask("/state").body)["runs"]
    assert [(run["name"], run["version"], run["phase"]) for run in state] == [
        ("first", 3, "recording"),
        ("second", 0, "waiting"),
    ]


@pytest.mark.parametrize(
    "token", ["", KEY[:-1], KEY + "Z", KEY.lower(), "%00", KEY[:-1] + "\u017e", "\udcff" * 43]
)
def test_a_wrong_token_is_refused(token):
    assert ask(Authorization=f"Bearer {token}").status == 403
    assert ask(Authorization=f"Basic {token}").status == 403
    assert not is_token(token, KEY)


@pytest.mark.parametrize("target", ["/", "/state", "/runs/0", "/runs/9", "/nowhere"])
def test_nothing_is_told_without_a_token(target):
    assert ask(target, Authorization=None).status == 403
    assert ask(f"{target}?token={KEY[:-1]}", Authorization=None).status == 403
    assert KEY.encode() not in ask(target, Authorization=None).body


def test_a_token_in_an_address_opens_the_page_only():
    assert ask(f"/state?token={KEY}", Authorization=None).status == 403
    assert ask(f"/?token={KEY}&token={KEY}", Authorization=None).status == 403
    assert ask("/?" + "&".join(["a=1"] * 9) + f"&token={KEY}", Authorization=None).status == 403


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            f"evil.example:{PORT}",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
        ),
        *("", "0.0.0.0", f"192.0.2.7:{PORT}", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:123456"),
        *("user@127.0.0.1", "127.0.0.1 ", "[::2]", "localhost.", "127.0.0.2", "2130706433"),
    ],
)
def test_other_names_of_this_machine_are_refused(host):
    answer = ask("/", Host=host)
    assert answer.status == (200 if host.strip() == "127.0.0.1" else 403)
    assert ask("/", Host=None).status == 403
    assert ask("/", Host=["127.0.0.1", host]).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:8000", f"localhost:{PORT}", "[::1]:8000"])
def test_a_forwarded_port_is_let_through(host):
    assert ask("/state", Host=host, Origin=f"http://{host}").status == 200


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "", f"https://127.0.0.1:{PORT}", "http://127.0.0.1"),
        *(f"http://127.0.0.1:{PORT + 1}", f"http://localhost:{PORT}", "file://"),
    ],
)
def test_a_foreign_origin_is_refused(origin):
    assert ask("/state", Origin=origin).status == 403
    assert ask("/", Origin=origin).status == 403
    assert ask("/state", Origin=[f"http://127.0.0.1:{PORT}", origin]).status == 403


def test_its_own_origin_is_let_through():
    assert ask("/state", Origin=f"http://127.0.0.1:{PORT}").status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "whatever"])
def test_what_another_page_asks_for_is_refused(site):
    assert ask("/state", Sec_Fetch_Site=site).status == 403
    frame = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    assert ask("/", Sec_Fetch_Site=site, **frame).status == 403
    visit = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert ask("/", Sec_Fetch_Site=site, **visit).status == 200
    assert ask("/runs/0", Sec_Fetch_Site=site, **visit).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_page_asks_for_is_let_through(site):
    assert ask("/runs/0", Sec_Fetch_Site=site).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_nothing_can_be_sent(method):
    answer = ask("/state", method)
    assert answer.status == 405
    assert answer.headers()["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/../../etc/passwd",
            "/runs/../manifest.json",
            "/runs/0/../1",
            "/runs/%2e%2e/0",
            "/runs/-1",
        ),
        *("/runs/0/manifest.json", "/runs/00000000", "/runs/1", "/runs/2", "/runs/", "/runs/0.0"),
        *(
            "/runs/٣",
            "/index.html",
            "/.writer.lock",
            "/runs/0%00",
            "/state/",
            "/STATE",
            "/runs/0;x",
        ),
    ],
)
def test_there_are_three_kinds_of_addresses_and_no_others(target):
    assert ask(target).status == 404


@pytest.mark.parametrize("target", ["", "*", "//evil.example/", "http://127.0.0.1/state", "state"])
def test_what_is_no_path_is_refused(target):
    assert ask(target).status == 400


@pytest.mark.parametrize(
    "answer", [ask("/"), ask("/state"), ask("/", Host="evil.example"), ask("/nowhere")]
)
def test_every_answer_carries_the_headers_that_protect_the_reader(answer):
    headers = answer.headers()
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not any(name.startswith("Access-Control") for name in headers)
    assert "Set-Cookie" not in headers


def test_ages_go_on_between_two_looks():
    pulse = type(NO_PULSE)(1, 0, None, float("nan"), 10.0)
    snapshot = Snapshot((RunState("run", "recording", "", pulse, None),), at=5.0)
    (run,) = json.loads(snapshot.to_json(7.5))["runs"]
    assert run["chunk_age_s"] == 12.5
    assert run["loss"] is None  # JSON has no NaN


def test_a_server_that_no_longer_looks_says_so():
    desk = Desk(KEY, DESK.page, lambda: (Snapshot(RUNS, 5.0, "what went wrong"), 7.0))
    headers = Message()
    headers["Host"], headers["Authorization"] = "localhost", BEARER["Authorization"]
    found = answer(Request("GET", "/state", headers), desk)
    assert found.status == 500
    assert b"what went wrong" in found.body
