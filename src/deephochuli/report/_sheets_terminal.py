"""Sheets in a terminal: answer, claims, findings and tables, in the order of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from deephochuli.analysis import Sheet
from deephochuli.report._answer import Answer
from deephochuli.report._terminal import table_of
from deephochuli.report._text import plain, shortened

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable
    from rich.text import Text

    from deephochuli.analysis import Table
    from deephochuli.studies import Claim

MOST_ROWS: Final = 24
NAME_WIDTH: Final = 44
WIDTH: Final = 160
WORD: Final = 14
"""Letters of a text that stand beside each other where there is room for them."""
GAP: Final = 2
SIGNS: Final = {"confirmed": "✓", "refined": "≈", "refuted": "✗", "open": "?"}
STYLES: Final = {
    "confirmed": "bold green",
    "refined": "bold yellow",
    "refuted": "bold red",
    "open": "bold",
}


def sheet_tables(
    answer: Answer | Sheet, *, most: int | None = MOST_ROWS, width: int = WIDTH
) -> list[RenderableType]:
    """One answer as parts for a rich console; figures are left to the page.

    Args:
        answer: A sheet, with or without claims.
        most: Rows of each table to show at most, from the top; None shows all.
        width: Signs in a line. In a narrow one words and numbers are broken, not cut off.
    """
    from rich.text import Text

    sheet, claims = (answer.sheet, answer.claims) if isinstance(answer, Answer) else (answer, ())
    parts: list[RenderableType] = [
        Text(plain(sheet.title), style="bold"),
        Text(plain(sheet.question), style="italic dim"),
        Text(f"{plain(sheet.answer)}\n"),
    ]
    if claims:
        parts.append(claims_table(claims))
    if sheet.findings:
        parts.append(table_of("Findings", sheet.findings))
    for table in sheet.tables:
        parts += _table(table, most, width)
    return [*parts, *(Text(f"· {plain(note)}", style="dim") for note in sheet.notes), Text("")]


def claims_table(claims: Sequence[Claim]) -> RichTable:
    """Claims with their verdicts as one table."""
    table = _empty()
    for heading, ratio in (("claim", 4), ("expected", 3), ("measured", 3), ("because", 4)):
        if heading == "claim":
            table.add_column("verdict", no_wrap=True)
        table.add_column(heading, ratio=ratio, overflow="fold")
    for claim in claims:
        table.add_row(
            verdict_text(claim.verdict),
            _claim(claim),
            *(plain(text) for text in (claim.expected, claim.measured, claim.because)),
        )
    return table


def verdict_text(verdict: str) -> Text:
    """A verdict as a sign and a word, so that colour is not needed."""
    from rich.text import Text

    return Text(f"{SIGNS[verdict]} {verdict}", style=STYLES[verdict])


def _claim(claim: Claim) -> Text:
    from rich.text import Text

    text = Text(plain(claim.text), style="bold")
    return text.append(f"\n{plain(claim.source)}", style="not bold dim")


def _table(table: Table, most: int | None, width: int) -> list[RenderableType]:
    """A table under its title, with what was left out and how to read it."""
    from rich.text import Text

    columns = _columns(table.columns)
    rows = [[_cell([row[place] for place in at]) for _, at in columns] for row in table.rows[:most]]
    numbers = [_is_number(table, places[0]) for _, places in columns]
    least = [_least([row[i] for row in rows], is_number) for i, is_number in enumerate(numbers)]
    fits = sum(least) + GAP * len(least) <= width
    shown = _empty(table.title)
    for (heading, _), is_number, size in zip(columns, numbers, least, strict=True):
        justify = "right" if is_number else "left"
        min_width = size if fits else None
        shown.add_column(plain(heading), justify=justify, min_width=min_width, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    left_out = len(table.rows) - len(rows)
    notes = [f"{left_out} more rows; --all shows them."] if left_out else []
    notes += [plain(table.note)] if table.note else []
    return [shown, *(Text(note, style="dim") for note in notes), Text("")]


def _is_number(table: Table, place: int) -> bool:
    values = [row[place] for row in table.rows if row[place] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _least(cells: Sequence[str], is_number: bool) -> int:
    """Signs that a column needs so that no number and no short word is broken."""
    longest = max((len(part) for cell in cells for part in cell.split()), default=1)
    return longest if is_number else min(longest, WORD)


def _columns(headings: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Columns as a terminal shows them: a number and the ends of its interval are one."""
    found: list[tuple[str, tuple[int, ...]]] = []
    index = 0
    while index < len(headings):
        name = headings[index]
        is_interval = tuple(headings[index + 1 : index + 3]) == (f"{name}, low", f"{name}, high")
        places = (index, index + 1, index + 2) if is_interval else (index,)
        found.append((name, places))
        index += len(places)
    return found


def _cell(cells: Sequence[object]) -> str:
    """A cell; with its interval where it has one and it is no point."""
    value, *ends = [cell_text(cell) for cell in cells]
    low, high = ends or (value, value)
    return value if low == high else f"{value} [{low}–{high}]"


def cell_text(cell: object) -> str:
    """A cell with three significant digits; whole numbers with all of theirs.

    Example:
        >>> [cell_text(cell) for cell in (None, float("nan"), 0.123456, 12345, True, float("inf"))]
        ['–', '–', '0.123', '12,345', 'yes', '∞']
    """
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return _number(cell)
    text = str(cell)
    return plain(text) if " " in text else shortened(text, NAME_WIDTH)


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:,.0f}" if abs(value) >= 1e4 and value == int(value) else f"{value:.3g}"


def _empty(title: str = "") -> RichTable:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(plain(title), style="bold") if title else None,
        title_justify="left",
    )
