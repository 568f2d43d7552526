"""Who may ask what: the answer to one request, as a function of the request.

The page is for the person who started the server. Others on the same machine, and pages from
elsewhere in the same browser, can reach the port as well, so each request must show all of this:

- a ``Host`` that is a name of this machine's loopback: a foreign name that was made to point here
  (DNS rebinding) is refused; any port, because the port may be forwarded by ssh;
- no foreign ``Origin``, and no ``Sec-Fetch-Site`` but that of the page itself (a link that is
  followed to the page is let through);
- the token: once in the address of the page, and in the ``Authorization`` header of what the page
  asks for. A cookie would be sent to every port of this machine.

No address is ever a path of the file system: there are three kinds of addresses, and no others.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from deephochuli.live._board import Snapshot

METHODS: Final = ("GET", "HEAD")
TOKEN: Final = "token"
_HOST: Final = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_RUN: Final = re.compile(r"/runs/(\d{1,6})", re.ASCII)
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_NO_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes:
        method: As it was sent.
        target: Path and query, as they were sent.
        headers: Header fields.
    """

    method: str
    target: str
    headers: Message

    def field(self, name: str) -> str | None:
        """A header field; None where it is missing, and "?" where it is there more than once."""
        values = self.headers.get_all(name, [])
        return None if not values else str(values[0]).strip() if len(values) == 1 else "?"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: Its code.
        body: Its content.
        kind: Media type of the content.
        policy: Content security policy.
        more: Further header fields.
    """

    status: HTTPStatus
    body: bytes
    kind: str = _TEXT
    policy: str = _NO_POLICY
    more: dict[str, str] = field(default_factory=dict[str, str])

    def headers(self) -> dict[str, str]:
        """All header fields."""
        return {
            "Content-Type": self.kind,
            "Content-Length": str(len(self.body)),
            "Content-Security-Policy": self.policy,
            "Cache-Control": "no-store",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Connection": "close",
            **self.more,
        }


def refusal(status: HTTPStatus, reason: str, **more: str) -> Answer:
    """An answer that says in one line why there is none."""
    return Answer(status, f"{reason}\n".encode(), more=more)


@dataclass(frozen=True, slots=True)
class Desk:
    """What there is to be asked for.

    Attributes:
        token: The secret that each request must show.
        page: The page and its content security policy.
        board: The newest snapshot, and the time.
    """

    token: str
    page: tuple[str, str]
    board: Callable[[], tuple[Snapshot, float]]


def answer(asked: Request, desk: Desk) -> Answer:
    """The answer to a request."""
    address = split(asked.target)
    if address is None:
        return refusal(HTTPStatus.BAD_REQUEST, "This is no address.")
    path, query = address
    return _refused(asked, path, query, desk.token) or _found(path, desk)


def split(target: str) -> tuple[str, str] | None:
    """Path and query of a request target; None if it does not begin with one slash."""
    if not target.startswith("/") or target.startswith("//"):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return parts.path, parts.query


def _refused(asked: Request, path: str, query: str, token: str) -> Answer | None:
    """Why a request is refused; None if it is not."""
    host = asked.field("Host") or ""
    if not _HOST.fullmatch(host):
        return refusal(HTTPStatus.FORBIDDEN, "Only this machine may ask.")
    if not _is_own(asked, host, is_page=path == "/"):
        return refusal(HTTPStatus.FORBIDDEN, "Only the page of this server may ask.")
    if asked.method not in METHODS:
        allow = ", ".join(METHODS)
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Nothing can be sent here.", Allow=allow)
    if not is_token(_shown_token(asked, path, query), token):
        return refusal(
            HTTPStatus.FORBIDDEN,
            "The token is missing or wrong. Open the address that was printed.",
        )
    return None


def _is_own(asked: Request, host: str, *, is_page: bool) -> bool:
    """Whether a request comes from the page itself, or from no page at all."""
    if asked.field("Origin") not in (None, f"http://{host}"):
        return False
    if asked.field("Sec-Fetch-Site") in (None, "same-origin", "none"):
        return True
    is_visit = (asked.field("Sec-Fetch-Mode"), asked.field("Sec-Fetch-Dest"))
    return is_page and is_visit == ("navigate", "document")


def _shown_token(asked: Request, path: str, query: str) -> str:
    """The token that a request shows; in the address only where the page is asked for."""
    scheme, _, shown = (asked.field("Authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return shown
    try:
        tokens = parse_qs(query, max_num_fields=8).get(TOKEN, []) if path == "/" else []
    except ValueError:
        return ""
    return tokens[0] if len(tokens) == 1 else ""


def is_token(shown: str, token: str) -> bool:
    """Whether a token is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), token.encode())


def _found(path: str, desk: Desk) -> Answer:
    """The page, the state of the runs, or the data of one."""
    if path == "/":
        page, policy = desk.page
        return Answer(HTTPStatus.OK, page.encode(), _HTML, policy)
    snapshot, now = desk.board()
    if snapshot.fault:
        reason = f"The runs are no longer looked at: {snapshot.fault}"
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
    if path == "/state":
        return Answer(HTTPStatus.OK, snapshot.to_json(now), _JSON)
    match = _RUN.fullmatch(path)
    number = int(match[1]) if match else len(snapshot.runs)
    part = snapshot.runs[number].part if number < len(snapshot.runs) else None
    if part is None:
        return refusal(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
    return Answer(HTTPStatus.OK, part.data, _JSON)
