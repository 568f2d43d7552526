"""Run tables as plain arrays: which tap each row belongs to, its counts, its histogram.

A report of a thousand taps and a thousand steps is a few passes of numpy over these arrays, and no
loop over rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.store import Ragged, RunReader

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LISTS: Final = ("key", "count", "positive", "ratio", "ratio_count")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one run table.

    Attributes:
        tap: Index of each row's tap among the taps of the run.
        first: First step that the row covers.
        last: Last step that the row covers.
        numbers: Columns of numbers by name; -1 or nan where nothing was measured.
        lists: Columns of lists by name.
    """

    tap: Ints
    first: Ints
    last: Ints
    numbers: Mapping[str, npt.NDArray[Any]]
    lists: Mapping[str, Ragged]

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.tap.size)


def read_curves(reader: RunReader, columns: Sequence[str]) -> Rows:
    """One row per tap and recorded step, some columns of numbers, no lists."""
    table = reader.all_scalars(columns)
    numbers = {name: table[name] for name in columns}
    return Rows(table["tap"], table["step"], table["step"], numbers, {})


def read_rollups(reader: RunReader) -> Rows:
    """One row per tap and chunk, with lists."""
    rollups = reader.rollups(LISTS)
    return Rows(rollups.tap, rollups.step_first, rollups.step_last, rollups.numbers, rollups.lists)


def read_every_step(reader: RunReader) -> Rows:
    """One row per tap and recorded step, with lists: for short runs, at the finest resolution."""
    records = reader.records(LISTS)
    return Rows(records.tap, records.step_first, records.step_last, records.numbers, records.lists)
