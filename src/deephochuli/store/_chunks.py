"""Reading one chunk: columns of its files, for all taps or for one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        self._kept: dict[str, dict[str, Any]] = {}
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
        names = self._names[table]
        lost = [name for name in names.pairs if name not in index]
        if lost:
            shown = str(lost[0])[:200]
            raise StoreError(f"{self._files[table].path} is damaged: {shown} is in no rollup.")
        return np.array([index[name] for name in names.pairs], np.int64)[names.place]

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

    def keep(self, wanted: Mapping[str, Iterable[str]]) -> None:
        """Read columns that will be asked for in several questions, until `forget`."""
        for table, names in wanted.items():
            together = (group for group in _TOGETHER if set(names) & group & LISTS)
            self._kept[table] = self._read(table, set(names).union(*together))

    def forget(self) -> None:
        """Drop what was kept, and the names of all rows but those of the rollup, which are few."""
        self._kept.clear()
        self._names = {table: names for table, names in self._names.items() if table == "rollup"}

    def _read(
        self,
        table: str,
        names: Iterable[str],
        groups: list[int] | None = None,
        told: Iterable[str] = (),
    ) -> dict[str, Any]:
        kept = self._kept.get(table, {})
        if groups is None and kept.keys() >= set(names) and not told:
            return {name: kept[name] for name in names}
        file = self._files[table]
        columns = file.read(names, groups, told=list(told))
        self.memory += file.memory
        return columns


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
    n_threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(n_threads, "deephochuli-read") as pool:
        # No further ahead than threads are busy: answers that wait are in memory.
        asked = deque(pool.submit(ask, chunk) for chunk in chunks[:n_threads])
        for place, chunk in enumerate(chunks, n_threads):
            answer = asked.popleft().result()
            asked.extend(pool.submit(ask, later) for later in chunks[place : place + 1])
            yield chunk, answer


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
