"""The local server: one request a connection, read within bounds, answered by `_guard`."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import TCPServer, ThreadingTCPServer
from typing import Any, Final, Self, cast

from deephochuli.live._board import Board, Snapshot
from deephochuli.live._guard import TOKEN, Answer, Desk, Request, answer, refusal
from deephochuli.report import live_page

LOOPBACK: Final = "127.0.0.1"
SECONDS: Final = 1.0
MOST_CONNECTIONS: Final = 64
MOST_HEAD_BYTES: Final = 16 << 10
HEAD_SECONDS: Final = 5.0
SEND_SECONDS: Final = 60.0
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 256 << 10
_TITLE: Final = "deephochuli"


class LiveServer:
    """Serves the live page of runs to this machine, and to nobody else.

    Use it in a ``with`` statement: runs are looked at, and requests answered, by threads of its
    own, until the statement ends.

    Args:
        runs: Run folders, folders of runs, and folders that are not there yet.
        port: Port on the loopback address; any free one if 0.
        seconds: Time between two looks at the runs.

    Attributes:
        url: Address of the page, with the token that each request must show.
        board: The runs.

    Raises:
        OSError: The port is taken, or not allowed.
    """

    def __init__(
        self, runs: Sequence[str | os.PathLike[str]], *, port: int = 0, seconds: float = SECONDS
    ) -> None:
        self.board = Board(runs)
        self._seconds = seconds
        self._stop = threading.Event()
        token = secrets.token_urlsafe(32)
        self._server = _listen(port, Desk(token, live_page(_TITLE), self._now))
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}/?{TOKEN}={token}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True),
            threading.Thread(target=self._keep, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def _now(self) -> tuple[Snapshot, float]:
        return self.board.snapshot, time.monotonic()

    def _keep(self) -> None:
        """Look at the runs until the end; if that fails, the page is told."""
        try:
            while not self._stop.is_set():
                self.board.look()
                self._stop.wait(self._seconds)
        except Exception as error:
            self.board.give_up(error)
            raise


class _Server(ThreadingTCPServer):
    """Accepts connections from this machine, a bounded number at a time."""

    allow_reuse_address = os.name == "posix"  # elsewhere it would let others take the port
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, desk: Desk) -> None:
        self.desk = desk
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection to a thread, or close it when there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless the other side just went away."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            TCPServer.handle_error(self, request, client_address)


def _listen(port: int, desk: Desk) -> _Server:
    """A server on a port; an error names the port and what to do."""
    try:
        return _Server(port, desk)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "Give another one, or 0 for any that is free."
        message = f"Port {port} of this machine cannot be used: {reason}. {advice}"
        raise OSError(error.errno, message) from error


class _Handler(BaseHTTPRequestHandler):
    """Reads the head of one request within bounds, and sends one answer."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """Answer one request; bodies are never read."""
        self.close_connection = True
        head, fault = read_head(self.connection)
        self.connection.settimeout(SEND_SECONDS)
        if fault is not None:
            self.command, self.request_version = "", self.protocol_version
            self.send(refusal(fault, fault.phrase))
        elif head:
            self.rfile = BytesIO(head)
            self._answer()
        _linger(self.connection)

    def _answer(self) -> None:
        """Parse a head and answer; `parse_request` calls `send_error` for what is none."""
        self.raw_requestline = self.rfile.readline()
        self.command, self.request_version = "", self.protocol_version
        self.requestline = ""
        if not self.parse_request():
            return
        if self.request_version == "HTTP/0.9":
            self.request_version = self.protocol_version
            self.send(refusal(HTTPStatus.BAD_REQUEST, "This is no request of HTTP/1."))
            return
        desk = cast("_Server", self.server).desk
        self.send(answer(Request(self.command, self.path, self.headers), desk))

    def send(self, found: Answer) -> None:
        """Send an answer, without its body where only the head was asked for."""
        self.send_response_only(found.status)
        for name, value in found.headers().items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say that what came is no request; nothing of it is repeated."""
        del message, explain
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        self.send(refusal(status, status.phrase))

    def handle_expect_100(self) -> bool:
        """Do not ask for a body."""
        return True


def read_head(
    connection: socket.socket, *, most: int = MOST_HEAD_BYTES, seconds: float = HEAD_SECONDS
) -> tuple[bytes, HTTPStatus | None]:
    """Read until the empty line that ends the head of a request.

    Args:
        connection: Where it comes from.
        most: Largest number of bytes.
        seconds: Longest time for all of it, however slowly it comes.

    Returns:
        The head with the empty line, and what is wrong: nothing, or the status to answer with. No
        bytes and no fault where the other side sent nothing.
    """
    head = b""
    until = time.monotonic() + seconds
    while True:
        connection.settimeout(max(1e-3, until - time.monotonic()))
        try:
            part = connection.recv(4096)
        except TimeoutError:
            return b"", HTTPStatus.REQUEST_TIMEOUT if head else None
        head += part
        ends = [at + len(end) for end in (b"\r\n\r\n", b"\n\n") if (at := head.find(end)) >= 0]
        if ends and min(ends) <= most:
            return head[: min(ends)], None
        if len(head) > most:
            return b"", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if not part:
            return b"", HTTPStatus.BAD_REQUEST if head else None


def _linger(connection: socket.socket) -> None:
    """Take in what is still coming, for a moment: closing at once could discard the answer."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + _LINGER_SECONDS
        taken = 0
        while taken < _LINGER_BYTES and (rest := until - time.monotonic()) > 0:
            connection.settimeout(rest)
            part = connection.recv(1 << 16)
            if not part:
                return
            taken += len(part)
