"""Reading one chunk: columns of its files, for all taps or for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._checks import list_faults, total_faults
from deephochuli.store._listing import LISTED, Names, join_names
from deephochuli.store._parquet import Texts, Values, open_file
from deephochuli.store._ragged import Array, Ragged
from deephochuli.store._schema import FILES

TapIndex = Mapping[tuple[str, str], int]

# Lists are only believed together with what they must agree with.
_TOGETHER = (
    {"key", "count", "n"},
    {"ratio", "ratio_count"},
    {"positive", "zero", "nonfinite", "n_per_channel"},
)
_LISTS = {column.name for column in FILES["taps"] if column.is_list}


class ChunkReader:
    """The files of one chunk; opening it reads and checks their footers.

    Raises:
        StoreError: A file is missing or damaged; also from any method that reads.
    """

    def __init__(self, folder: Path, number: int, run_id: str) -> None:
        identity = {"deephochuli.run_id": run_id, "deephochuli.chunk": str(number)}
        self.number = number
        self.name = folder.name
        self._files = {file: open_file(folder, file, identity) for file in FILES}
        self._names: dict[str, Names] = {}

    def steps(self) -> dict[str, Array]:
        """Columns of steps.parquet, and where a loss was told."""
        file = self._files["steps"]
        columns = file.read(file.columns, told=["loss"])
        if np.any(np.diff(columns["step"]) <= 0):
            raise StoreError(f"{file.path} is damaged: its steps do not increase.")
        return columns

    def listed(self) -> tuple[Names, dict[str, Values]]:
        """What a list of the taps of a run is made of."""
        columns = self.columns("rollup", LISTED)
        self._names["rollup"] = join_names(columns["layer"], columns["quantity"])
        return self._names["rollup"], columns

    def tap_of_row(self, file: str, index: TapIndex) -> NDArray[np.int64]:
        """Index of the tap of each row of a file."""
        if file not in self._names:
            self._names[file] = join_names(**self._files[file].read(("layer", "quantity")))
        names = self._names[file]
        lost = [name for name in names.pairs if name not in index]
        if lost:
            raise StoreError(f"{self._files[file].path} is damaged: {lost[0]} is in no rollup.")
        return np.array([index[name] for name in names.pairs], np.int64)[names.place]

    def columns(
        self, file: str, names: Iterable[str], groups: list[int] | None = None
    ) -> dict[str, Any]:
        """Columns of all rows or of some row groups; lists are checked."""
        names = set(names)
        wanted = names.union(*(group for group in _TOGETHER if names & group & _LISTS))
        source = self._files[file]
        columns = source.read(wanted, groups)
        lists = {name: column for name, column in columns.items() if name in _LISTS}
        for wrong, fault in _faults(lists, columns):
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise StoreError(f"{source.path} is damaged: row {row}: {fault}.")
        return columns

    def columns_of_tap(
        self, file: str, index: TapIndex, tap: int, names: Iterable[str]
    ) -> dict[str, Any] | None:
        """Columns of the rows of one tap, or None if there is none; reads few row groups."""
        rows = np.flatnonzero(self.tap_of_row(file, index) == tap)
        if not len(rows):
            return None
        starts = self._files[file].starts
        groups = np.unique(np.searchsorted(starts, rows, "right") - 1)
        columns = self.columns(file, names, groups.tolist())
        local = _local(rows, groups, starts)
        return {name: _pick(columns[name], local) for name in names}


def _faults(
    lists: Mapping[str, Ragged], columns: Mapping[str, Any]
) -> Iterator[tuple[NDArray[np.bool_], str]]:
    yield from list_faults(lists)
    yield from total_faults(lists, columns)


def _local(
    rows: NDArray[np.int64], groups: NDArray[np.int64], starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where rows of a file are when only some of its row groups were read."""
    sizes = starts[groups + 1] - starts[groups]
    begins = np.cumsum(sizes) - sizes
    of_row = np.searchsorted(starts, rows, "right") - 1
    return rows - starts[of_row] + begins[np.searchsorted(groups, of_row)]


def _pick(column: Values, rows: NDArray[np.int64]) -> Values:
    """Some rows of a column."""
    if isinstance(column, Ragged):
        return column.take(rows)
    if isinstance(column, Texts):
        return Texts(column.codes[rows], column.names)
    return column[rows]
