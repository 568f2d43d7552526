"""Reading the Parquet files of a chunk, and refusing what contradicts itself."""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._ragged import Array, Ragged, offsets_of
from deephochuli.store._schema import FILES, NUMPY_TYPES, SCHEMA_VERSION, Column

Values: TypeAlias = Any
"""A column in memory: an array, `Ragged` or `Texts`, as its kind has it."""

_READ_FAULTS = (OSError, pa.ArrowException, ValueError, KeyError)


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of few different texts: row i is ``names[codes[i]]``."""

    codes: NDArray[np.int64]
    names: list[str]


@dataclass(frozen=True, slots=True)
class ColumnFile:
    """One Parquet file of a chunk, known to have our columns.

    Attributes:
        path: Where it is.
        columns: Its columns, by name.
        footer: What Parquet says about it; kept, so that it is read once.
        starts: First row of each row group, and the number of rows.
    """

    path: Path
    columns: dict[str, Column]
    footer: Any
    starts: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Rows in the file."""
        return int(self.starts[-1])

    def read(
        self, names: Iterable[str], groups: Sequence[int] | None = None, *, told: Sequence[str] = ()
    ) -> dict[str, Values]:
        """Some columns, of all rows or of some row groups.

        Args:
            names: Which columns.
            groups: Which row groups; all by default.
            told: Columns among them for which null and nan differ.

        Returns:
            By name: an array of numbers (-1 or nan for null), `Texts`, or `Ragged` lists; and
            ``has_NAME`` for each column of `told`, where it is not null.

        Raises:
            StoreError: The file is damaged.
        """
        names = list(names)
        rows = self._table(names, groups)
        try:
            found = {name: _column(rows.column(name), self.columns[name]) for name in names}
            return found | {f"has_{name}": rows.column(name).is_valid().to_numpy() for name in told}
        except _READ_FAULTS as error:
            raise _damaged(self.path, error) from error

    def _table(self, names: list[str], groups: Sequence[int] | None = None) -> pa.Table:
        chosen = np.arange(len(self.starts) - 1) if groups is None else np.array(groups, np.int64)
        try:
            with _stream(self.path) as file:
                reader = _open(file, self.footer)
                table = reader.read_row_groups(chosen.tolist(), columns=names)
            if table.num_rows != np.diff(self.starts)[chosen].sum():
                raise StoreError(f"it holds {table.num_rows} rows, and says otherwise")
            return table
        except _READ_FAULTS as error:
            raise _damaged(self.path, error) from error


def open_file(folder: Path, file: str, identity: dict[str, str]) -> ColumnFile:
    """Read the footer of a file of a chunk and check that it is what it should be.

    Args:
        folder: The chunk.
        file: "taps", "rollup" or "steps".
        identity: Metadata that the file must repeat if it has it: run and number of the chunk.

    Raises:
        StoreError: The file is missing, damaged, of another run, or lacks a column.
    """
    path = folder / f"{file}.parquet"
    columns = {column.name: column for column in FILES[file]}
    try:
        with _stream(path) as stream:
            footer = _open(stream, None).metadata
        schema = footer.schema.to_arrow_schema()
        _check_identity(schema.metadata or {}, identity | {"deephochuli.file": file})
        _check_columns(schema, columns)
        counts = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    except _READ_FAULTS as error:
        raise _damaged(path, error) from error
    return ColumnFile(path, columns, footer, offsets_of(np.array(counts, np.int64)))


def _stream(path: Path) -> pa.NativeFile | BinaryIO:
    """Open file that pyarrow reads without the help of Python, and so in several threads."""
    try:
        return pa.OSFile(os.fspath(path))
    except UnicodeEncodeError:  # a name that is no text: Python can open it, pyarrow cannot
        return path.open("rb")


def _open(stream: pa.NativeFile | BinaryIO, footer: pq.FileMetaData | None) -> pq.ParquetFile:
    """Parquet reader that verifies the checksum of each page."""
    return pq.ParquetFile(
        stream, metadata=footer, page_checksum_verification=True, pre_buffer=False
    )


def _damaged(path: Path, error: Exception) -> StoreError:
    if isinstance(error, StoreError):
        return StoreError(f"{path} is damaged or foreign: {error}.")
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path} is missing.")
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StoreError(f"{path} is damaged or cannot be read: {reason}")


def _check_identity(metadata: dict[bytes, bytes], expected: dict[str, str]) -> None:
    """Refuse a file of a newer schema, and one that says that it belongs elsewhere."""
    about = {name.decode(): value.decode() for name, value in metadata.items()}
    version = about.get("deephochuli.schema_version", "1")
    if not version.isdecimal() or int(version) > SCHEMA_VERSION:
        raise StoreError(
            f"its schema version is {version}, this DeepHochuli reads up to {SCHEMA_VERSION}"
        )
    for name, value in expected.items():
        if about.get(name, value) != value:
            raise StoreError(f"{name} is {about[name]}, not {value}: it is out of place")


def _check_columns(schema: pa.Schema, columns: dict[str, Column]) -> None:
    """Refuse a file without one of our columns, or with another type in it."""
    for name, column in columns.items():
        index = schema.get_field_index(name)
        if index < 0:
            raise StoreError(f"it has no column {name!r}")
        found = schema.field(index).type
        if not _is_same_type(found, column.arrow_type):
            raise StoreError(f"column {name!r} holds {found}, not {column.arrow_type}")


def _is_same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal up to how texts are encoded and whether list elements could be null."""
    if pa.types.is_list(expected):
        return pa.types.is_list(found) and found.value_type == expected.value_type
    if pa.types.is_dictionary(expected):
        plain = found.value_type if pa.types.is_dictionary(found) else found
        return pa.types.is_string(plain) or pa.types.is_large_string(plain)
    return found == expected


def _column(chunked: pa.ChunkedArray, column: Column) -> Values:
    """Numpy form of a column."""
    if chunked.null_count and not column.nullable:
        raise StoreError(f"column {column.name!r} has rows without a value")
    if column.kind == "text":
        return _texts(chunked)
    if column.is_list:
        parts = [_ragged(array) for array in chunked.chunks]
        return Ragged.joined(parts, NUMPY_TYPES[column.kind])
    return _numbers(chunked, column)


def _texts(chunked: pa.ChunkedArray) -> Texts:
    if not pa.types.is_dictionary(chunked.type):
        chunked = chunked.dictionary_encode()
    if not chunked.num_chunks:
        return Texts(np.empty(0, np.int64), [])
    array = chunked.unify_dictionaries().combine_chunks()
    return Texts(array.indices.to_numpy().astype(np.int64), array.dictionary.to_pylist())


def _numbers(chunked: pa.ChunkedArray, column: Column) -> Array:
    if chunked.null_count:
        chunked = chunked.fill_null(float("nan") if column.kind == "f8" else -1)
    return chunked.to_numpy()


def _ragged(array: pa.ListArray) -> Ragged:
    """Lists of an Arrow list array; null rows take no room."""
    present: NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.diff(array.offsets.to_numpy()).astype(np.int64) * present
    values = array.flatten()
    if values.null_count:
        raise StoreError("a list has elements without a value")
    ragged = Ragged(values.to_numpy(), offsets_of(lengths), present)
    if ragged.offsets[-1] != len(ragged.values):
        raise StoreError("the lengths of the lists do not add up to the number of values")
    return ragged
