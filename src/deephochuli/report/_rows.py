"""Rows with histograms as plain arrays: which tap each row belongs to, its counts, its lists.

A report of a thousand taps and a thousand steps is a few passes of numpy over these arrays, and no
loop over rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.store import Ragged, Rollups, RunReader, Windows, by_half_binade

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RECORDED_LISTS: Final = ("key", "count", "positive", "ratio", "ratio_count")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one run table.

    Attributes:
        tap: Index of each row's tap among the taps of the run.
        first: First step that the row covers.
        last: Last step that the row covers.
        numbers: Columns of numbers by name; -1 or nan where nothing was measured.
        lists: Columns of lists by name; histograms as slot and slot_count, by half binade.
    """

    tap: Ints
    first: Ints
    last: Ints
    numbers: Mapping[str, npt.NDArray[Any]]
    lists: Mapping[str, Ragged]

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.tap.size)


def read_windows(reader: RunReader) -> Rows:
    """One row per tap and chunk."""
    rows = reader.fold(Windows).rows()
    return _rows(rows, rows.lists)


def read_every_step(reader: RunReader) -> Rows:
    """One row per tap and recorded step: for short runs, at the finest resolution."""
    records = reader.records(RECORDED_LISTS)
    lists = dict(records.lists)
    lists["slot"], lists["slot_count"] = by_half_binade(lists.pop("key"), lists.pop("count"))
    return _rows(records, lists)


def _rows(found: Rollups, lists: Mapping[str, Ragged]) -> Rows:
    return Rows(found.tap, found.step_first, found.step_last, found.numbers, lists)
