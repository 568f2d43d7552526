"""What an answer looks like before anything draws it: numbers, tables and figures as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from deephochuli.analysis._finding import Finding

Scale = Literal["linear", "log2", "log10", "category"]
Mark = Literal["line", "points", "steps", "bars", "band", "rule", "polygons"]
Cell = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a figure.

    Attributes:
        label: What is drawn along it, with its unit in words: "|z|", "steps", "layers L".
        scale: How numbers become places; "category" takes the texts of the series in their order.
        low: Where the axis begins; None for the smallest number drawn.
        high: Where it ends; None for the largest.
    """

    label: str
    scale: Scale = "linear"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers that are drawn in one colour and named once in the legend.

    Attributes:
        name: Text of the legend.
        x: Places along the x axis; texts on an axis of categories. For "polygons" the corners of
            all polygons one after the other, a None after each.
        y: Places along the y axis, as many as `x`; None breaks a line. For "rule" (a line right
            across) `x` or `y` is empty.
        low: Lower ends of intervals, as many as `x`, or empty.
        high: Upper ends.
        mark: How it is drawn: measured data as points (with intervals) or steps, predictions as
            lines, uncertain regions as a band between `low` and `high`.
        dashed: Draw lines dashed: predictions and bounds.
        note: What stands in the tooltip beside the numbers.
    """

    name: str
    x: tuple[float | str | None, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    mark: Mark = "points"
    dashed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, whatever draws it.

    Attributes:
        key: Short name, unique within its sheet: letters, digits and hyphens.
        title: What the figure shows, as a sentence without a full stop.
        x: Horizontal axis.
        y: Vertical axis.
        series: What is drawn, first at the bottom.
        how_to_read: One or two sentences for somebody who sees such a figure for the first time.
    """

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    how_to_read: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        key: Short name, unique within its sheet.
        title: What the rows are.
        columns: Headings; a unit stands in the heading. "x", "x, low" and "x, high" in a row are a
            number and the ends of its interval, which are shown as one.
        rows: As many cells as there are columns; None where nothing was measured.
        note: How to read it, and what is not in it.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The answer to one question about one model, run or study.

    Attributes:
        key: Short name, such as "swamping".
        title: Heading.
        question: What was asked, in one sentence.
        answer: What came out, in one to three sentences with numbers and intervals.
        findings: What should be known, worst first.
        tables: Numbers.
        figures: Pictures.
        notes: Method, limits, and what was not measured.
    """

    key: str
    title: str
    question: str
    answer: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = field(default=())
