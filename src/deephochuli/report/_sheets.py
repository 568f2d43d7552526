"""The page of answers: sheets of analyses and of studies as one self-contained HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from deephochuli.analysis import Sheet
from deephochuli.errors import SheetError
from deephochuli.report._answer import Answer
from deephochuli.report._build import write_text
from deephochuli.report._html import render_page
from deephochuli.report._provenance import generator
from deephochuli.report._sheets_data import answer_record

SHEETS_SCHEMA: Final = 1


def build_sheets_report(
    answers: Sequence[Answer | Sheet],
    out: str | os.PathLike[str],
    *,
    title: str,
    lede: str = "",
) -> Path:
    """Write answers as one self-contained HTML file, in the order given.

    The file opens from disk, asks no network for anything, and holds the numbers that it draws.

    Args:
        answers: Sheets, with or without claims; where there are claims, a summary of all of them
            comes first.
        out: File to write; folders above it are made. An existing file is replaced at once.
        title: Heading of the page.
        lede: What was examined, in a sentence, below the heading.

    Returns:
        The path of the file.

    Raises:
        SheetError: There is no sheet, two have one key, or one contradicts itself.
        StoreError: `out` cannot be written.

    Numerics:
        The file holds the numbers of the sheets to the last digit; the page shows four digits.

    Example:
        >>> import tempfile
        >>> sheet = Sheet("one", "One", "Is 1 odd?", "Yes.")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     build_sheets_report([sheet], folder + "/page.html", title="Odd").name
        'page.html'
    """
    payload = sheets_payload(answers, title, lede)
    return write_text(Path(out), render_page(title, generator(), payload, "", page="sheets"))


def sheets_payload(answers: Sequence[Answer | Sheet], title: str, lede: str) -> dict[str, Any]:
    """The data of the page; answers are described in `_sheets_data`."""
    return {
        **sheets_to_json(answers),
        "title": title,
        "lede": lede,
        "made": {"by": generator(), "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")},
    }


def sheets_to_json(answers: Sequence[Answer | Sheet]) -> dict[str, Any]:
    """Answers as plain data.

    Returns:
        ``{"schema": 1, "generator": ..., "answers": [...]}``. An infinity is "inf" or "-inf", null
        stands for nan and for what was not measured. Fields are only ever added within one schema
        version.

    Raises:
        SheetError: There is no sheet, two have one key, or one contradicts itself.
    """
    if not answers:
        raise SheetError("There is nothing to show: expected one sheet or more.")
    records = [answer_record(_answer(each)) for each in answers]
    keys = [record["key"] for record in records]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise SheetError(f"Two sheets have the key {twice[0]!r}; expected keys that differ.")
    return {"schema": SHEETS_SCHEMA, "generator": generator(), "answers": records}


def sheet_to_json(answer: Answer | Sheet) -> dict[str, Any]:
    """One answer as plain data, see `sheets_to_json`.

    Raises:
        SheetError: The sheet contradicts itself.
    """
    return answer_record(_answer(answer))


def _answer(each: Answer | Sheet) -> Answer:
    return each if isinstance(each, Answer) else Answer(each)
