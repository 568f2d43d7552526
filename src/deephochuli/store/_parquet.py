"""Reading the Parquet files of a chunk, and refusing what contradicts itself."""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._arrow import Values, is_given, to_numpy
from deephochuli.store._files import read_whole
from deephochuli.store._footer import MOST_FOOTER_BYTES, Footer, read_footer
from deephochuli.store._migrations import FileLayout
from deephochuli.store._pages import memory_of
from deephochuli.store._ragged import offsets_of
from deephochuli.store._schema import SCHEMA_VERSION, Column
from deephochuli.store._seal import FileSeal, checksum

_READ_FAULTS = (OSError, pa.ArrowException, ValueError, KeyError, MemoryError, OverflowError)

# What no file of ours comes near to; beyond it, a file of a few bytes asks for gigabytes.
_MOST_FILE_BYTES = 1 << 29
_MOST_IN_A_FOOTER_LIST = 1 << 10

MEMORY_ANY_FILE_MAY_TAKE = 1 << 28
MEMORY_PER_BYTE = 16
"""Files of ours unpack to five times their size; those of dull runs to more, but are small."""


def most_memory(n_bytes: int) -> int:
    """Memory that files of some size may ask for when they are unpacked."""
    return MEMORY_ANY_FILE_MAY_TAKE + MEMORY_PER_BYTE * n_bytes


class ColumnFile:
    """One Parquet file of a chunk, read when it is first asked for something.

    Args:
        path: Where it is.
        layout: Which columns it has.
        identity: Metadata that it must repeat if it has it: run and number of the chunk.
        seal: Its size and checksum, where they were written down.

    Raises:
        StoreError: The file is missing or has another size than it had; also from all methods,
            when it is damaged.
    """

    def __init__(
        self, path: Path, layout: FileLayout, identity: dict[str, str], seal: FileSeal | None
    ) -> None:
        self.path = path
        self.columns = {column.name: column for column in layout.columns}
        self.memory = 0  # that the last answer asked for
        self._identity = identity | {"deephochuli.file": layout.file}
        self._seal = seal
        self._footer: Footer | None = None
        self._metadata: Any = None
        self._starts = np.zeros(1, np.int64)
        self._memory: dict[tuple[int, str], int] = {}
        self.n_bytes = self._measure()

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each row group, and the number of rows."""
        if self._footer is None:
            self.check()
        return self._starts

    def check(self) -> None:
        """Verify the checksum, and that the footer is what it should be."""
        try:
            self._data()
        except _READ_FAULTS as error:
            raise _damaged(self.path, error) from error

    def forget(self) -> None:
        """Drop what is known of its footer; it is verified again when it is read again."""
        self._footer = self._metadata = None
        self._memory = {}

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
        try:
            rows = self._table(names, groups)
            found = {name: to_numpy(rows.column(name), self.columns[name]) for name in names}
            return found | {f"has_{name}": is_given(rows.column(name)) for name in told}
        except _READ_FAULTS as error:
            raise _damaged(self.path, error) from error

    def _measure(self) -> int:
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise _damaged(self.path, error) from error
        if self._seal is not None and size != self._seal.n_bytes:
            fault = StoreError(f"it has {size:,} bytes and had {self._seal.n_bytes:,}")
            raise _damaged(self.path, fault)
        return size

    def _data(self) -> bytes:
        """The file. The first time it is verified, and its footer is read."""
        data = read_whole(self.path, _MOST_FILE_BYTES)
        if len(data) != self.n_bytes:
            raise StoreError(f"it has {len(data):,} bytes and had {self.n_bytes:,}")
        if self._footer is None:
            if self._seal is not None and checksum(data) != self._seal.crc32:
                raise StoreError("its checksum does not agree")
            self._read_footer(data)
        return data

    def _read_footer(self, data: bytes) -> None:
        footer = read_footer(data)
        metadata = _open(data, None).metadata
        schema = metadata.schema.to_arrow_schema()
        _check_identity(schema.metadata or {}, self._identity)
        _check_columns(schema, self.columns)
        self._starts = offsets_of(np.array(footer.n_rows, np.int64))
        self._footer, self._metadata = footer, metadata

    def _table(self, names: list[str], groups: Sequence[int] | None = None) -> pa.Table:
        data = self._data()
        n_groups = len(self._starts) - 1
        n_rows = np.diff(self._starts)
        chosen = [i for i in (range(n_groups) if groups is None else groups) if n_rows[i]]
        memory = sum(self._memory_of(data, group, name) for group in chosen for name in names)
        if memory > most_memory(self.n_bytes):
            raise StoreError(f"{self.n_bytes:,} bytes would become {memory:,} in memory")
        self.memory = memory
        table = _open(data, self._metadata).read_row_groups(
            chosen, columns=names, use_threads=False
        )
        if table.num_rows != n_rows[chosen].sum():
            raise StoreError(f"it holds {table.num_rows} rows, and says otherwise")
        return table

    def _memory_of(self, data: bytes, group: int, name: str) -> int:
        """Memory that a column of a row group asks for; its pages are walked once."""
        if (group, name) not in self._memory:
            assert self._footer is not None
            place = self._footer.places[group][name]
            self._memory[group, name] = memory_of(data, place)
        return self._memory[group, name]


def give_back() -> None:
    """Let the system have the memory that pyarrow keeps for later."""
    pa.default_memory_pool().release_unused()


def _open(data: bytes, metadata: pq.FileMetaData | None) -> pq.ParquetFile:
    """Parquet reader that verifies the checksum of each page, and believes no footer too much."""
    return pq.ParquetFile(
        pa.BufferReader(data),
        metadata=metadata,
        page_checksum_verification=True,
        pre_buffer=False,
        thrift_container_size_limit=_MOST_IN_A_FOOTER_LIST,
        thrift_string_size_limit=MOST_FOOTER_BYTES,
    )


def _damaged(path: Path, error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return StoreError(f"{path} is damaged or foreign: {str(error).rstrip('.')}.")
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path} is missing.")
    reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return StoreError(f"{path} is damaged or cannot be read: {reason}")


def _check_identity(metadata: dict[bytes, bytes], expected: dict[str, str]) -> None:
    """Refuse a file of a newer schema, and one that says that it belongs elsewhere."""
    about = {name.decode(): value.decode() for name, value in metadata.items()}
    version = about.get("deephochuli.schema_version", "1")
    if not version.isdecimal() or len(version) > 9 or int(version) > SCHEMA_VERSION:
        raise StoreError(
            f"its schema version is {version[:40]}, this DeepHochuli reads up to {SCHEMA_VERSION}"
        )
    for name, value in expected.items():
        if about.get(name, value) != value:
            raise StoreError(f"{name} is {about[name][:80]}, not {value}: it is out of place")


def _check_columns(schema: pa.Schema, columns: dict[str, Column]) -> None:
    """Refuse a file without one of our columns, or with another type in it."""
    for name, column in columns.items():
        index = schema.get_field_index(name)
        if index < 0:
            raise StoreError(f"it has no column {name!r}")
        found = schema.field(index).type
        if not _is_same_type(found, column.arrow_type):
            raise StoreError(f"column {name!r} holds {str(found)[:80]}, not {column.arrow_type}")


def _is_same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal up to how texts are encoded and whether list elements could be null."""
    if pa.types.is_list(expected):
        return pa.types.is_list(found) and found.value_type == expected.value_type
    if pa.types.is_dictionary(expected):
        plain = found.value_type if pa.types.is_dictionary(found) else found
        return pa.types.is_string(plain) or pa.types.is_large_string(plain)
    return found == expected
