"""A page of the site asks no other host for anything; a build that does is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sphinx.errors import SphinxError

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_HOST: Final = r"(?:https?:)?//"
# What a browser loads by itself. A link that somebody may click on is none of these.
_LOADED: Final = re.compile(
    rf"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*[\"']{_HOST}[^\"']*"
    rf"|<link\b(?![^>]*\brel\s*=\s*[\"'](?:canonical|license)[\"'])"
    rf"[^>]*?\bhref\s*=\s*[\"']{_HOST}[^\"']*"
    rf"|url\(\s*[\"']?{_HOST}[^)]*|@import\s+[\"']{_HOST}[^\"']*",
    re.IGNORECASE,
)


def foreign_requests(text: str) -> list[str]:
    """What a page or a style sheet would load from another host.

    >>> foreign_requests('<a href="https://example.org">fine</a> <img src="a.png">')
    []
    >>> foreign_requests("body { background: url(https://example.org/a.png) }")
    ['url(https://example.org/a.png']
    """
    return _LOADED.findall(text)


def check_site(folder: Path) -> list[str]:
    """Files of a built site that would load something from another host, and what."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".css")]
    return [
        f"{path.relative_to(folder)}: {request}"
        for path in files
        for request in foreign_requests(path.read_text("utf-8"))
    ]


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        found = check_site(Path(app.outdir))
        if found:
            raise SphinxError("pages that load from another host:\n" + "\n".join(found))


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at the site when it is built."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
