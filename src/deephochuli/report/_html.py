"""The page as text: sources, data and policy put into the frame."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from deephochuli.report._bundle import joined_script, joined_style, page_source, policy


def json_for_script(data: Any) -> str:
    r"""JSON that cannot end the script element it stands in: ``<`` is written ``\u003c``."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render_page(
    title: str, generator: str, payload: dict[str, Any], blob: str, *, page: str = "main"
) -> str:
    """The whole HTML file; `page` names the module with which its code begins."""
    theme, script, style = page_source("theme.js"), joined_script(page), joined_style(page)
    pieces = {
        "POLICY": html.escape(policy([theme, script], [style]), quote=False),
        "GENERATOR": html.escape(generator),
        "TITLE": html.escape(one_line(title)),
        "THEME": theme,
        "STYLE": style,
        "PAYLOAD": json_for_script(payload),
        "BLOB": blob,
        "CODE": script,
    }
    frame = page_source("page.html")
    return re.sub("@([A-Z]+)@", lambda match: pieces[match[1]], frame)


def one_line(text: str) -> str:
    """A title without line breaks and control characters, at most 200 characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:200]
