"""Reading one chunk: columns of its files, for all taps or for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._arrow import Texts, Values
from deephochuli.store._checks import list_faults, total_faults
from deephochuli.store._listing import LISTED, Names, join_names
from deephochuli.store._migrations import layout_of
from deephochuli.store._parquet import ColumnFile
from deephochuli.store._ragged import Array, Ragged
from deephochuli.store._schema import LISTS
from deephochuli.store._seal import read_seal

TapIndex = Mapping[tuple[str, str], int]

# Lists are only believed together with what they must agree with.
_TOGETHER = (
    {"key", "count", "n"},
    {"ratio", "ratio_count"},
    {"positive", "zero", "nonfinite", "n_per_channel"},
)
_NAMES = ("layer", "quantity")
_MANY_CHUNKS = 8
_ROWS_PER_PIECE = 1 << 15
T = TypeVar("T")


class ChunkReader:
    """The files of one chunk; opening it checks that they are there and whole as far as is known.

    Args:
        folder: The chunk.
        number: Its number.
        run_id: The run that it must belong to.
        version: Schema version of the chunk.

    Raises:
        StoreError: A file is missing or damaged; also from any method that reads.
    """

    def __init__(self, folder: Path, number: int, run_id: str, version: int) -> None:
        layout = layout_of(version)
        self.number = number
        self.name = folder.name
        self.memory = 0  # that the answers since it was last set to 0 asked for
        self.seal = read_seal(folder, run_id, number) if layout.is_sealed else None
        identity = {"deephochuli.run_id": run_id, "deephochuli.chunk": str(number)}
        opened: dict[str, ColumnFile] = {}
        for found in layout.files.values():
            if found.file not in opened:
                path = folder / f"{found.file}.parquet"
                sealed = self.seal.files.get(path.name) if self.seal else None
                if self.seal and sealed is None:
                    raise StoreError(f"{folder} is damaged: its seal does not name {path.name}.")
                opened[found.file] = ColumnFile(path, found, identity, sealed)
                if self.seal is None:
                    opened[found.file].check()
        self._files = {name: opened[found.file] for name, found in layout.files.items()}
        self._names: dict[str, Names] = {}
        self.n_bytes = sum(file.n_bytes for file in opened.values())

    def steps(self, told: Iterable[str] = ("loss",)) -> dict[str, Array]:
        """Columns of steps.parquet, and where a loss was told."""
        file = self._files["steps"]
        columns = self._read("steps", file.columns, told=told)
        step = columns["step"]
        if np.any(step[1:] <= step[:-1]):
            raise StoreError(f"{file.path} is damaged: its steps do not increase.")
        if self.seal:
            sealed = (self.seal.n_steps, self.seal.step_first, self.seal.step_last)
            if sealed != (len(step), *(step[[0, -1]].tolist() if len(step) else ())):
                raise StoreError(f"{file.path} is damaged: its steps are not those of its seal.")
        return columns

    def listed(self) -> tuple[Names, dict[str, Values]]:
        """What a list of the taps of a run is made of."""
        columns = self.columns("rollup", LISTED)
        self._names["rollup"] = join_names(columns["layer"], columns["quantity"])
        return self._names["rollup"], columns

    def tap_of_row(self, table: str, index: TapIndex) -> NDArray[np.int64]:
        """Index of the tap of each row of a table."""
        if table not in self._names:
            self._names[table] = join_names(**self._read(table, _NAMES))
        return self._place(table, self._names[table], index)

    def _place(self, table: str, names: Names, index: TapIndex) -> NDArray[np.int64]:
        """Index of the tap of each row that has these names."""
        lost = [name for name in names.pairs if name not in index]
        if lost:
            shown = str(lost[0])[:200]
            raise StoreError(f"{self._files[table].path} is damaged: {shown} is in no rollup.")
        return np.array([index[name] for name in names.pairs], np.int64)[names.place]

    def pieces(self, table: str) -> list[Piece]:
        """Stretches of row groups of a table that together are all of it, each soon read."""
        try:
            starts = self._files[table].starts
        except StoreError:  # whoever reads it is told
            return [Piece(self, table, None)]
        number = starts[:-1] // _ROWS_PER_PIECE
        groups = np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1)
        return [Piece(self, table, each.tolist()) for each in groups]

    def read_piece(
        self, piece: Piece, names: Iterable[str], index: TapIndex
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Index of the tap of each row of a piece, and columns of these rows."""
        columns = self.columns(piece.table, {*names, *_NAMES}, piece.groups)
        places = join_names(**{name: columns[name] for name in _NAMES})
        return self._place(piece.table, places, index), columns

    def columns(
        self, table: str, names: Iterable[str], groups: list[int] | None = None
    ) -> dict[str, Any]:
        """Columns of all rows or of some row groups; lists are checked."""
        names = set(names)
        wanted = names.union(*(group for group in _TOGETHER if names & group & LISTS))
        columns = self._read(table, wanted, groups)
        lists = {name: column for name, column in columns.items() if name in LISTS}
        for wrong, fault in _faults(lists, columns):
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                path = self._files[table].path
                raise StoreError(f"{path} is damaged: row {row}: {fault}.")
        return columns

    def rows(self, names: Iterable[str]) -> dict[str, Any]:
        """Columns of numbers and of lists of all taps in all steps."""
        names = set(names)
        lists = names & LISTS
        if not lists:
            return self.columns("taps", names)
        found = self.columns("taps", {*(names - LISTS), "step", *_NAMES})
        beside = self.columns("sketches", {*lists, "step", *_NAMES})
        if not _is_same_rows(found, beside):
            path = self._files["sketches"].path
            raise StoreError(f"{path} is damaged: its rows are not those of the taps.")
        return {name: (beside if name in lists else found)[name] for name in names}

    def columns_of_tap(
        self, table: str, index: TapIndex, tap: int, names: Iterable[str]
    ) -> dict[str, Any] | None:
        """Columns of the rows of one tap, or None if there is none; reads few row groups."""
        rows = np.flatnonzero(self.tap_of_row(table, index) == tap)
        if not len(rows):
            return None
        starts = self._files[table].starts
        groups = np.unique(np.searchsorted(starts, rows, "right") - 1)
        columns = self.columns(table, names, groups.tolist())
        local = _local(rows, groups, starts)
        return {name: pick(columns[name], local) for name in names}

    def forget(self) -> None:
        """Drop what is known of the files and their rows: much, where there are many chunks."""
        for file in self._files.values():
            file.forget()
        self._names.clear()

    def _read(
        self,
        table: str,
        names: Iterable[str],
        groups: list[int] | None = None,
        told: Iterable[str] = (),
    ) -> dict[str, Any]:
        file = self._files[table]
        columns = file.read(names, groups, told=list(told))
        self.memory += file.memory
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some of the rows of a table of a chunk.

    Attributes:
        chunk: The chunk.
        table: Name of the table.
        groups: Which row groups; None for all.
    """

    chunk: ChunkReader
    table: str
    groups: list[int] | None


def read_each(
    chunks: Sequence[ChunkReader], read: Callable[[ChunkReader], T]
) -> Iterator[tuple[ChunkReader, T | StoreError]]:
    """Ask chunks a question, several at a time, and yield the answers in their order.

    What unpacks pages lets go of the interpreter, so that threads make use of further processors.
    """

    def ask(chunk: ChunkReader) -> T | StoreError:
        chunk.memory = 0
        try:
            return read(chunk)
        except StoreError as error:
            return error

    if len(chunks) < _MANY_CHUNKS:
        yield from ((chunk, ask(chunk)) for chunk in chunks)
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "deephochuli-read") as pool:
        yield from zip(chunks, pool.map(ask, chunks), strict=True)


def _is_same_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two tables have the same steps and taps, row by row."""
    if not np.array_equal(one["step"], other["step"]):
        return False
    return all(_texts_agree(one[name], other[name]) for name in _NAMES)


def _texts_agree(one: Texts, other: Texts) -> bool:
    place = {name: i for i, name in enumerate(one.names)}
    codes = np.array([place.get(name, -1) for name in other.names], np.int64)
    return len(one.codes) == len(other.codes) and bool(np.all(codes[other.codes] == one.codes))


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


def pick(column: Values, rows: NDArray[np.int64]) -> Values:
    """Some rows of a column."""
    if isinstance(column, Ragged):
        return column.take(rows)
    if isinstance(column, Texts):
        return Texts(column.codes[rows], column.names)
    return column[rows]
