"""Answers as Markdown, in the places of a document that ask for them.

A place is a pair of comments, each on a line of its own::

    <!-- study barrier -->
    what stands here is written anew
    <!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deephochuli.analysis import Table
from deephochuli.errors import SheetError, StoreError
from deephochuli.report._answer import Answer
from deephochuli.report._build import write_text
from deephochuli.report._sheets_data import VERDICTS

SUMMARY: Final = "summary"
"""Name of the place that gets the verdicts of all studies."""
MOST_ROWS: Final = 12
"""Longer tables stand on the page only."""


_PLACE: Final = re.compile(r"^<!-- study ([a-z0-9-]+) -->\n(.*?)^<!-- end -->$", re.DOTALL | re.M)


def write_markdown(answers: Sequence[Answer], document: Path, made_by: str) -> list[str]:
    """Write answers into the places of a document; places of other studies stay as they are.

    Args:
        answers: Answers of studies.
        document: A Markdown file with at least one place.
        made_by: The command that repeats this, named in the summary.

    Returns:
        Names of the places that were written.

    Raises:
        StoreError: The document cannot be read or written.
        SheetError: It has no place for any of the answers.
    """
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{document} cannot be read: {error.strerror or error}.") from error
    known = {answer.sheet.key: _answer(answer) for answer in answers}
    known[SUMMARY] = _summary(answers, made_by)
    written = [name for name, _ in _PLACE.findall(text) if name in known]
    if not written:
        raise SheetError(
            f"{document} has no place for {', '.join(known)}: expected a line "
            "'<!-- study NAME -->' and, below it, a line '<!-- end -->'."
        )

    def filled(place: re.Match[str]) -> str:
        name, old = place[1], place[2]
        return f"<!-- study {name} -->\n{known.get(name, old)}<!-- end -->"

    write_text(document, _PLACE.sub(filled, text))
    return written


def _summary(answers: Sequence[Answer], made_by: str) -> str:
    rows = [
        (answer.sheet.title, claim.text, claim.verdict)
        for answer in answers
        for claim in answer.claims
    ]
    counts = [f"{n} {v}" for v in VERDICTS if (n := sum(row[2] == v for row in rows))]
    head = f"\n`{made_by}` judged {len(rows)} claims: {', '.join(counts)}.\n\n"
    return head + _table(("Study", "Claim", "Verdict"), rows) + "\n"


def _answer(answer: Answer) -> str:
    sheet = answer.sheet
    parts = [f"\n**{_inline(sheet.question)}**\n\n{sheet.answer}\n"]
    if answer.claims:
        rows = [
            (c.text, c.source, c.expected, c.measured, f"**{c.verdict}**: {c.because}")
            for c in answer.claims
        ]
        heads = ("Claim", "Source", "Expected if it holds", "Measured", "Verdict")
        parts.append("\n" + _table(heads, rows))
    parts += [_titled(table) for table in sheet.tables if len(table.rows) <= MOST_ROWS]
    if sheet.notes:
        parts.append("\n" + "".join(f"- {_inline(note)}\n" for note in sheet.notes))
    return "".join(parts) + "\n"


def _titled(table: Table) -> str:
    rows = [tuple(_cell(cell) for cell in row) for row in table.rows]
    note = f"\n{table.note}\n" if table.note else ""
    return f"\n{_inline(table.title)}:\n\n{_table(table.columns, rows)}{note}"


def _cell(cell: str | float | int | bool | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return str(cell)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(map(_inline, line)) + " |\n" for line in lines)


def _inline(text: str) -> str:
    """A text that stays within its cell or line."""
    return " ".join(text.split()).replace("|", "\\|")
