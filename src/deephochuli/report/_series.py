"""Curves over steps: the scalar columns of a run, merged into the fine columns of a page."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.report._codes import Blob, encode_counts, encode_magnitudes
from deephochuli.report._rows import Floats
from deephochuli.report._timeline import Timeline
from deephochuli.store import Courses

COUNT_SERIES: Final = {
    "silent": "n_silent_channels",
    "channels": "n_channels",
    "updatable": "n_updatable",
    "unmoved": "n_unmoved",
}


def add_series(blob: Blob, prefix: str, courses: Courses, timeline: Timeline) -> None:
    """Pack every curve of every tap: counts summed, magnitudes maximised, over each column."""
    columns = courses.over(np.searchsorted(courses.first, timeline.first))
    for name, column in COUNT_SERIES.items():
        sums = columns[column].T
        if (measured := sums >= 0).any():
            blob.add(f"{prefix}series.{name}", "u2", encode_counts(sums, measured), delta=True)
    for name, values in (("rms", _rms(columns)), ("max", columns["max_abs"].T)):
        blob.add(f"{prefix}series.{name}", "i4", encode_magnitudes(values), delta=True)


def _rms(columns: dict[str, npt.NDArray[Any]]) -> Floats:
    """Root mean square of the finite elements, by tap and column."""
    n = columns["n_finite"]
    with np.errstate(invalid="ignore"):
        return np.sqrt(columns["sum_sq"] / np.where(n > 0, n, np.nan)).T
