"""The live page and the data it asks for, one run at a time."""

from __future__ import annotations

import html
import json
import re

from deephochuli.report._bundle import joined_script, joined_style, page_source, policy
from deephochuli.report._html import one_line
from deephochuli.report._payload import MOST_CELLS, build_payload
from deephochuli.report._provenance import generator
from deephochuli.store import RunReader


def live_page(title: str) -> tuple[str, str]:
    """The live page, which holds no data.

    Returns:
        The HTML, and the content security policy that must be sent with it: its own scripts and
        styles, questions to its own server, no more.
    """
    theme, script, style = page_source("theme.js"), joined_script("live"), joined_style("live")
    pieces = {
        "GENERATOR": html.escape(generator()),
        "TITLE": html.escape(one_line(title)),
        "THEME": theme,
        "STYLE": style,
        "CODE": script,
    }
    frame = page_source("live.html")
    text = re.sub("@([A-Z]+)@", lambda match: pieces[match[1]], frame)
    rules = (policy([theme, script], [style]), "connect-src 'self'", "frame-ancestors 'none'")
    return text, "; ".join(rules)


def live_part(run: RunReader, name: str, version: int, *, n_runs: int = 1) -> str:
    """The data of one run for the live page, as JSON: those of a report of this run alone.

    The size is bounded like that of a report: with many taps, curves have fewer points each.

    Args:
        run: The run; it must have recorded steps.
        name: Name shown to people.
        version: Version of the data, which the page gives back.
        n_runs: Runs that the page shows, which share the bound on its size.

    Returns:
        ``{"version": ..., "payload": ..., "blob": ...}``; see `_payload`.
    """
    payload, blob = build_payload([run], [name], name, most_cells=MOST_CELLS // n_runs)
    part = {"version": version, "payload": payload, "blob": blob}
    return json.dumps(part, allow_nan=False, separators=(",", ":"))
