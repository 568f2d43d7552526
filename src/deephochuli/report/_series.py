"""Curves over steps: the scalar columns of a run, merged into the fine columns of a page."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from deephochuli.report._codes import Blob, encode_counts, encode_magnitudes
from deephochuli.report._gather import exact_sums, extremes
from deephochuli.report._rows import Floats, Ints, Rows
from deephochuli.report._timeline import Timeline

COUNT_SERIES: Final = {
    "silent": "n_silent_channels",
    "channels": "n_channels",
    "updatable": "n_updatable",
    "unmoved": "n_unmoved",
}
CURVE_COLUMNS: Final = (*COUNT_SERIES.values(), "n", "n_inf", "n_nan", "sum_sq", "max_abs")


def add_series(blob: Blob, prefix: str, rows: Rows, timeline: Timeline, n_taps: int) -> None:
    """Pack every curve of every tap: counts summed, magnitudes maximised, over each column."""
    size = n_taps * len(timeline)
    cell = rows.tap * len(timeline) + timeline.place(rows.first)
    for name, column in COUNT_SERIES.items():
        sums, measured = _sums(rows.numbers[column], cell, size)
        if measured.any():
            blob.add(f"{prefix}series.{name}", "u2", encode_counts(sums, measured), delta=True)
    for name, values in _magnitudes(rows, cell, size).items():
        blob.add(f"{prefix}series.{name}", "i4", encode_magnitudes(values), delta=True)


def _sums(column: Ints, cell: Ints, size: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Sum of a counting column by cell, and which cells were measured at all."""
    known = column >= 0
    sums = exact_sums(cell[known], column[known], size)
    return sums, np.bincount(cell[known], minlength=size) > 0


def _magnitudes(rows: Rows, cell: Ints, size: int) -> dict[str, Floats]:
    """Root mean square of the finite elements and largest magnitude, by cell."""
    finite = rows.numbers["n"] - rows.numbers["n_inf"] - rows.numbers["n_nan"]
    n_finite = exact_sums(cell, finite, size)
    sum_sq = np.bincount(cell, weights=rows.numbers["sum_sq"], minlength=size)
    with np.errstate(invalid="ignore"):
        rms = np.sqrt(sum_sq / np.where(n_finite > 0, n_finite, np.nan))
    return {
        "rms": rms,
        "max": extremes(rows.numbers["max_abs"], cell, size, largest=True),
    }
