"""Sheets as plain data: what the page draws, and what machines read.

Layout of an answer::

    key, title, question, answer
    claims    [{text, source, expected, measured, verdict, because}]
    findings  as in the findings of a run
    figures   [{key, title, how_to_read, x, y, series}]
      x, y    {label, scale, low, high}
      series  [{name, mark, dashed, note, x, y, low, high}]
    tables    [{key, title, columns, rows, note}]
    notes     sentences

Numbers are those of the sheet, to the last digit. What JSON cannot hold is "inf" or "-inf" for an
infinity, and null for nan as for what was not measured.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, get_args

from deephochuli.analysis import Axis, Figure, Series, Sheet, Table
from deephochuli.analysis._sheet import Mark, Scale
from deephochuli.errors import SheetError
from deephochuli.report._json import finding_record

if TYPE_CHECKING:
    from deephochuli.report._answer import Answer

Plain = str | float | int | bool | None

VERDICTS: Final = ("confirmed", "refined", "refuted", "open")
SCALES: Final[tuple[str, ...]] = get_args(Scale)
MARKS: Final[tuple[str, ...]] = get_args(Mark)
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def answer_record(answer: Answer) -> dict[str, Any]:
    """One answer as plain data.

    Raises:
        SheetError: The sheet contradicts itself; says where.
    """
    sheet = answer.sheet
    _check_keys(sheet)
    return {
        "key": sheet.key,
        "title": sheet.title,
        "question": sheet.question,
        "answer": sheet.answer,
        "claims": [_claim(sheet, asdict(claim)) for claim in answer.claims],
        "findings": [finding_record(finding) for finding in sheet.findings],
        "figures": [_figure(sheet, figure) for figure in sheet.figures],
        "tables": [_table(sheet, table) for table in sheet.tables],
        "notes": list(sheet.notes),
    }


def plain_value(value: object, where: str) -> Plain:
    """A cell or a place as JSON holds it.

    Raises:
        SheetError: It is no text, number, truth value or None.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        if math.isfinite(number):
            return number
        return None if math.isnan(number) else str(number)
    raise SheetError(
        f"{where} holds {value!r}, a {type(value).__name__}; expected a text, a number, True, "
        "False or None."
    )


def _check_keys(sheet: Sheet) -> None:
    """Keys become names of files and parts of addresses."""
    for what, keys in (
        ("sheet", [sheet.key]),
        ("figure", [figure.key for figure in sheet.figures]),
        ("table", [table.key for table in sheet.tables]),
    ):
        for key in keys:
            if not _KEY.fullmatch(key):
                raise SheetError(
                    f"{key!r} cannot be the key of a {what} of the sheet {sheet.key!r}: expected "
                    "letters, digits, hyphens and underscores."
                )
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise SheetError(f"The sheet {sheet.key!r} has two {what}s with the key {twice[0]!r}.")


def _claim(sheet: Sheet, record: dict[str, Any]) -> dict[str, Any]:
    if record["verdict"] not in VERDICTS:
        raise SheetError(
            f"The claim {record['text']!r} of the sheet {sheet.key!r} has the verdict "
            f"{record['verdict']!r}; expected one of {', '.join(VERDICTS)}."
        )
    return record


def _figure(sheet: Sheet, figure: Figure) -> dict[str, Any]:
    where = f"The figure {figure.key!r} of the sheet {sheet.key!r}"
    return {
        "key": figure.key,
        "title": figure.title,
        "how_to_read": figure.how_to_read,
        "x": _axis(figure.x, f"{where}: its x axis"),
        "y": _axis(figure.y, f"{where}: its y axis", SCALES[:-1]),
        "series": [
            _series(figure, series, f"{where}: its series {series.name!r}")
            for series in figure.series
        ],
    }


def _axis(axis: Axis, where: str, scales: Sequence[str] = SCALES) -> dict[str, Any]:
    if axis.scale not in scales:
        known = ", ".join(scales)
        raise SheetError(f"{where} has the scale {axis.scale!r}; expected one of {known}.")
    low, high = plain_value(axis.low, where), plain_value(axis.high, where)
    return {"label": axis.label, "scale": axis.scale, "low": low, "high": high}


def _series(figure: Figure, series: Series, where: str) -> dict[str, Any]:
    if series.mark not in MARKS:
        raise SheetError(
            f"{where} has the mark {series.mark!r}; expected one of {', '.join(MARKS)}."
        )
    _check_lengths(series, where)
    if figure.x.scale != "category" and any(isinstance(x, str) for x in series.x):
        raise SheetError(f"{where} has texts along x; expected numbers, or the scale 'category'.")
    columns: tuple[Sequence[object], ...] = (series.x, series.y, series.low, series.high)
    x, y, low, high = ([plain_value(value, where) for value in column] for column in columns)
    return {
        "name": series.name,
        "mark": series.mark,
        "dashed": series.dashed,
        "note": series.note,
        **{"x": x, "y": y, "low": low, "high": high},
    }


def _check_lengths(series: Series, where: str) -> None:
    n_x, n_y, n_low, n_high = map(len, (series.x, series.y, series.low, series.high))
    if series.mark == "rule":
        fits = (n_x == 0) != (n_y == 0) and not n_low and not n_high
    elif series.mark == "band":
        fits = n_y in (0, n_x) and n_low == n_high == n_x
    else:
        fits = n_y == n_x and n_low == n_high and n_low in (0, n_x)
    if not fits:
        raise SheetError(
            f"{where} ({series.mark}) has {n_x} x, {n_y} y, {n_low} low and {n_high} high; "
            "expected as many of each as there are x, low and high together or not at all, and "
            "either x or y for a rule."
        )


def _table(sheet: Sheet, table: Table) -> dict[str, Any]:
    where = f"The table {table.key!r} of the sheet {sheet.key!r}"
    n = len(table.columns)
    for number, row in enumerate(table.rows):
        if len(row) != n:
            raise SheetError(f"{where} has {n} columns, and {len(row)} cells in row {number}.")
    return {
        "key": table.key,
        "title": table.title,
        "columns": list(table.columns),
        "rows": [[plain_value(cell, where) for cell in row] for row in table.rows],
        "note": table.note,
    }
