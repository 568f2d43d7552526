"""Rows of a comparison as columns of numbers, as the page holds them.

Layout of a set of rows::

    layers      [{name, kind}]                one per call, in the order of the first execution
    executors   names
    directions  those that occur, in the order of the computation
    rows        columns of equal length:
      executor, layer, direction   indices into the lists above
      parameter                    name, or null
      mark                         0 plain, 1 above the floor, 2 where it starts
      ratio, flips, floor          ratio to binary32, decisions of a kinked activation, noise floor
                                   relative to the reference; null where there is none
      own, inherited, total        {n, zeros, sign_flips, nonfinite, rel, rms, max_abs, mean_abs,
                                   median_abs, rms_ulps, max_ulps, apart}; null where there is none

Numbers have six significant digits; null stands for nan and "inf" for infinity. `apart` is one
minus the cosine, which would be 1 to six digits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from deephochuli.report._comparison_text import relative

if TYPE_CHECKING:
    from deephochuli.analysis.compare import Comparison, Error, PairComparison, Row, Verdict

DIRECTIONS: Final = ("forward", "backward", "gradient", "update")
COUNTS: Final = ("n", "zeros", "sign_flips", "nonfinite")
SIZES: Final = ("rms", "max_abs", "mean_abs", "median_abs", "rms_ulps", "max_ulps")
PLAIN, ABOVE, START = 0, 1, 2

Columns = dict[str, list[Any]]


def comparison_set(comparison: Comparison, verdict: Verdict | None) -> dict[str, Any]:
    """The rows of a comparison; with a verdict the floor, and marks where it names a layer."""
    rows = comparison.rows
    marks = _marks(comparison, verdict)
    return {
        **_names(rows),
        "executors": list(comparison.executors),
        "rows": {
            **_places(rows),
            "executor": [comparison.executors.index(row.executor) for row in rows],
            "parameter": [row.parameter for row in rows],
            "mark": [marks.get(_key(row), PLAIN) for row in rows],
            "ratio": [number(row.ratio) for row in rows],
            "flips": [row.sign_flips for row in rows],
            "floor": [_floor(row, verdict) for row in rows],
            "own": error_columns([row.local for row in rows]),
            "inherited": error_columns([row.inherited for row in rows]),
            "total": error_columns([row.total for row in rows]),
        },
    }


def pairs_set(pairs: PairComparison) -> dict[str, Any]:
    """The rows of two executions: what each call was given in the place of what it inherited."""
    rows, start = pairs.rows, pairs.start
    nothing = [None] * len(rows)
    return {
        **_names(rows),
        "executors": [f"{pairs.second} minus {pairs.first}"],
        "rows": {
            **_places(rows),
            "executor": [0] * len(rows),
            "parameter": [row.parameter for row in rows],
            "mark": [START if row is start else ABOVE if row.starts else PLAIN for row in rows],
            "ratio": nothing,
            "flips": nothing,
            "floor": nothing,
            "own": error_columns([row.made for row in rows]),
            "inherited": error_columns([row.given for row in rows]),
            "total": error_columns(nothing),
        },
    }


def _names(rows: Sequence[Any]) -> dict[str, Any]:
    """Layers and directions that occur."""
    kinds = {row.layer: row.kind for row in rows}
    found = {row.direction for row in rows}
    return {
        "layers": [{"name": name, "kind": kind} for name, kind in kinds.items()],
        "directions": [direction for direction in DIRECTIONS if direction in found],
    }


def _places(rows: Sequence[Any]) -> Columns:
    place = {name: i for i, name in enumerate(dict.fromkeys(row.layer for row in rows))}
    found = {row.direction for row in rows}
    directions = [direction for direction in DIRECTIONS if direction in found]
    return {
        "layer": [place[row.layer] for row in rows],
        "direction": [directions.index(row.direction) for row in rows],
    }


def _key(row: Row) -> tuple[str, tuple[str, int], str, str | None]:
    return row.executor, row.call, row.direction, row.parameter


def _marks(comparison: Comparison, verdict: Verdict | None) -> Mapping[Any, int]:
    """Rows that a verdict names, of the execution that it judged."""
    if verdict is None:
        return {}
    executor = verdict.execution or comparison.executors[0]
    marks = {
        (executor, each.call, each.direction, each.parameter): ABOVE for each in verdict.suspects
    }
    culprit = verdict.culprit
    if culprit is not None:
        marks[executor, culprit.call, culprit.direction, culprit.parameter] = START
    return marks


def _floor(row: Row, verdict: Verdict | None) -> float | str | None:
    """What sound executions of this call reach, relative to the reference."""
    if verdict is None or not row.local.reference_rms:
        return None
    what = f"{row.direction}:{row.parameter}" if row.parameter else row.direction
    rms, _ = verdict.floor.of((row.call, what), row.local)
    return number(rms / row.local.reference_rms)


def error_columns(errors: Sequence[Error | None]) -> Columns:
    """The numbers of errors, a column each."""
    columns: Columns = {
        name: [None if error is None else int(getattr(error, name)) for error in errors]
        for name in COUNTS
    }
    for name in SIZES:
        columns[name] = [
            None if error is None else number(getattr(error, name)) for error in errors
        ]
    columns["rel"] = [None if error is None else number(relative(error)) for error in errors]
    columns["apart"] = [None if error is None else number(1 - error.cosine) for error in errors]
    return columns


def number(value: float | None) -> float | str | None:
    """A number as the page holds it.

    Example:
        >>> number(1 / 3), number(float("nan")), number(float("inf"))
        (0.333333, None, 'inf')
    """
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(f"{value:.6g}")
