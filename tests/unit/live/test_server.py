"""The server as others meet it: over sockets, with requests good and bad."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from deephochuli.live import LiveServer, _server

N_MALFORMED = 1000


@pytest.fixture
def server(growing):
    with LiveServer([growing.folder], seconds=0.05) as running:
        yield running


def port_of(server: LiveServer) -> int:
    return urlsplit(server.url).port or 0


def token_of(server: LiveServer) -> str:
    return server.url.partition("token=")[2]


def get(server: LiveServer, path: str, method: str = "GET", **fields: str):
    """Status, header fields and body of a request with the token."""
    connection = HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    headers = {"Authorization": f"Bearer {token_of(server)}"}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def raw(server: LiveServer, sent: bytes, *, closes: bool = True) -> bytes:
    """What comes back for some bytes."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as connection:
        try:
            connection.sendall(sent)
            if closes:
                connection.shutdown(socket.SHUT_WR)
            parts = list(iter(lambda: connection.recv(1 << 16), b""))
        except ConnectionError:
            return b""
        return b"".join(parts)


def wait_for_data(server: LiveServer) -> None:
    until = time.monotonic() + 20
    while not any(run.part for run in server.board.snapshot.runs):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_page_and_its_data(server):
    wait_for_data(server)
    status, headers, page = get(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.startswith(b"<!doctype html>")
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    (run,) = json.loads(get(server, "/state")[2])["runs"]
    assert (run["name"], run["phase"], run["n_steps"]) == ("run", "recording", 4)
    part = json.loads(get(server, f"/runs/{0}")[2])
    assert part["version"] == run["version"] == 1


def test_the_head_of_an_answer_is_that_of_the_answer(server):
    wait_for_data(server)
    for path in ("/", "/runs/0", "/nowhere"):
        status, headers, body = get(server, path)
        assert get(server, path, "HEAD") == (status, headers, b"")
        assert int(headers["Content-Length"]) == len(body)
    head = f"HEAD / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token_of(server)}\r\n\r\n"
    assert raw(server, head.encode()).partition(b"\r\n\r\n")[2] == b""


def test_a_growing_run_is_followed(server, growing):
    wait_for_data(server)
    growing.grow()
    growing.end()
    until = time.monotonic() + 20
    while True:
        (run,) = json.loads(get(server, "/state")[2])["runs"]
        if (run["n_steps"], run["phase"], run["version"]) == (8, "ended", 2):
            break
        assert time.monotonic() < until, run
        time.sleep(0.02)
    assert json.loads(get(server, "/runs/0")[2])["payload"]["runs"][0]["n_recorded"] == 8


def test_others_are_refused(server):
    assert get(server, "/state", Host="evil.example")[0] == 403
    assert get(server, "/state", Origin="http://evil.example")[0] == 403
    assert get(server, "/state", Authorization="Bearer guess")[0] == 403
    assert get(server, "/runs/../../etc/passwd")[0] == 404
    assert get(server, "/state", "POST")[0] == 405


def test_every_server_has_a_token_of_its_own(growing):
    tokens: set[str] = set()
    for _ in range(3):
        with LiveServer([growing.folder]) as running:
            tokens.add(token_of(running))
    assert len(tokens) == 3
    assert all(len(token) >= 43 for token in tokens)


def test_a_port_that_is_taken_is_named(server, growing):
    with pytest.raises(OSError, match=f"Port {port_of(server)} .* cannot be used: Address already"):
        LiveServer([growing.folder], port=port_of(server))


def test_only_the_loopback_is_bound(server):
    assert server._server.server_address[0] == "127.0.0.1"


def malformed(rng: np.random.Generator, key: str) -> bytes:
    """One request that is none, or none that may be answered with data."""
    noise = rng.integers(0, 256, int(rng.integers(1, 400)), dtype=np.uint8).tobytes()
    good = f"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n".encode()
    chunks = b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + noise
    return [
        lambda: noise,
        lambda: noise.replace(b"\n", b"") + b"\r\n\r\n",
        lambda: good[: int(rng.integers(1, len(good)))],
        lambda: b"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\n" + noise + b"\r\n\r\n",
        lambda: b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        lambda: b"GET /state HTTP/1.1\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n",
        lambda: b"GET /state HTTP/1.1\r\n" + b"X: y\r\n" * 900 + b"\r\n",
        lambda: b"POST /state HTTP/1.1\r\nHost: 127.0.0.1\r\n" + chunks,
        lambda: b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n" + noise,
        lambda: b"GET /state HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        lambda: b"GET /state\r\n\r\n",
        lambda: b"GET  /state  HTTP/1.1 extra\r\n\r\n",
        lambda: b"\r\n" * int(rng.integers(1, 50)),
        lambda: b"\x00" * int(rng.integers(1, 5000)),
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,  # a TLS hello
        lambda: "GET /\u0661 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(),
        lambda: b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ][int(rng.integers(18))]()


def test_a_thousand_malformed_requests_do_no_harm(server, capfd):
    rng = np.random.default_rng(1)
    wait_for_data(server)
    before = threading.active_count()
    statuses = [raw(server, malformed(rng, token_of(server)))[:12] for _ in range(N_MALFORMED)]
    codes = Counter(status[9:12] for status in statuses)
    assert codes.keys() <= {b"", b"400", b"403", b"404", b"405", b"414", b"431", b"501", b"505"}
    assert sum(codes.values()) - codes[b""] > 0.9 * N_MALFORMED
    assert get(server, "/state")[0] == 200
    until = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert "Traceback" not in capfd.readouterr().err


def test_a_request_that_does_not_end_is_given_up(server, monkeypatch):
    monkeypatch.setattr(_server.read_head, "__kwdefaults__", {"most": 1 << 14, "seconds": 0.2})
    assert raw(server, b"GET /state HTTP/1.1\r\n", closes=False).startswith(b"HTTP/1.1 408")
    assert raw(server, b"", closes=False) == b""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=10) as drip:
        n_sent = 0
        while not select.select([drip], [], [], 0.05)[0]:  # a byte now and then, for ever
            drip.sendall(b"x")
            n_sent += 1
            assert n_sent < 100
        assert drip.recv(100).startswith(b"HTTP/1.1 408")


def test_connections_beyond_the_limit_are_closed_and_the_server_lives_on(server, monkeypatch):
    monkeypatch.setattr(_server.read_head, "__kwdefaults__", {"most": 1 << 14, "seconds": 60.0})
    n_more = 20
    held = [
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=10)
        for _ in range(_server.MOST_CONNECTIONS + n_more)
    ]
    until = time.monotonic() + 20
    while len(closed := select.select(held, [], [], 0)[0]) < n_more:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len(closed) == n_more
    for connection in held:
        connection.close()
    until = time.monotonic() + 10
    while True:
        try:
            assert get(server, "/state")[0] == 200
            break
        except (ConnectionError, OSError):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_what_a_page_sends_along_is_not_waited_for(server):
    began = time.monotonic()
    body = b"POST /state HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999\r\n\r\nabc"
    assert raw(server, body).startswith(b"HTTP/1.1 405")
    assert time.monotonic() - began < 3


def test_a_fault_of_the_server_is_said_and_survived(server, monkeypatch, capfd):
    monkeypatch.setattr(_server, "answer", lambda *_: 1 / 0)
    assert raw(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
    monkeypatch.undo()
    assert get(server, "/state")[0] == 200
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_page_is_told_when_nobody_looks_any_more(server, monkeypatch):
    def fail():
        raise RuntimeError("what went wrong")

    monkeypatch.setattr(server.board, "look", fail)
    until = time.monotonic() + 10
    while not server.board.snapshot.fault:
        assert time.monotonic() < until
        time.sleep(0.01)
    status, _, body = get(server, "/state")
    assert status == 500
    assert b"what went wrong" in body
