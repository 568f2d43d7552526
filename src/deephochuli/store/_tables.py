"""Frames to Arrow tables and back, and how they are encoded in Parquet."""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deephochuli.store._ragged import Array, Frame, Ragged
from deephochuli.store._rows import StepRow
from deephochuli.store._schema import FILES, Column, arrow_schema, leaf_of
from deephochuli.store._taps import Taps

# Split into streams of bytes, counts and keys take 40 % less room after zstd than plain, dictionary
# or delta encoding, and less time (benchmarks/store.py); level 1 is 3 % larger than level 3.
_LEVEL = 1


def open_writer(sink: BinaryIO, file: str, metadata: dict[str, str]) -> pq.ParquetWriter:
    """Parquet writer of a file of a chunk, with our encodings."""
    columns = FILES[file]
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": _LEVEL,
        "use_dictionary": [c.name for c in columns if c.kind == "text"],
        "column_encoding": {leaf_of(c): "BYTE_STREAM_SPLIT" for c in columns if _is_split(c)},
        "write_statistics": ["step", "step_first", "step_last", "layer", "quantity"],
        "write_page_checksum": True,
    }
    return pq.ParquetWriter(sink, arrow_schema(file, metadata), **options)


def _is_split(column: Column) -> bool:
    return column.kind not in ("text", "bool")


def frame_table(frame: Frame, file: str, taps: Taps) -> pa.Table:
    """Arrow table of a frame.

    Args:
        frame: Rows; its column dtype holds indices into ``taps.dtypes``, step_first is the step.
        file: "taps", "sketches" or "rollup".
        taps: What the indices in ``frame.tap`` mean.
    """
    arrays = [_array(column, frame, taps) for column in FILES[file]]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(file))


def _array(column: Column, frame: Frame, taps: Taps) -> pa.Array:
    """One column of a frame as an Arrow array."""
    if column.name == "dtype":
        return _coded(frame.numbers["dtype"], taps.dtypes)
    if column.kind == "text":
        return _coded(frame.tap, taps.texts[column.name])
    if column.is_list:
        return _list_array(frame.lists[column.name], column)
    if column.name == "order":
        return _number_array(np.array(taps.order, np.int64)[frame.tap], column)
    values = frame.numbers["step_first" if column.name == "step" else column.name]
    return _number_array(values, column)


def _coded(indices: Array, names: list[str]) -> pa.Array:
    """Dictionary array of the names used, each once: Parquet writes others without a dictionary."""
    used = np.flatnonzero(np.bincount(indices))
    places: dict[str, int] = {}
    place = np.zeros(len(names), np.int32)
    place[used] = [places.setdefault(names[i], len(places)) for i in used.tolist()]
    return pa.DictionaryArray.from_arrays(
        pa.array(place[indices]), pa.array(list(places), pa.string())
    )


def _list_array(lists: Ragged, column: Column) -> pa.Array:
    """List array of ragged rows."""
    mask = None if lists.present.all() else pa.array(~lists.present)
    offsets = pa.array(lists.offsets.astype(np.int32))
    return pa.ListArray.from_arrays(
        offsets, pa.array(lists.values), type=column.arrow_type, mask=mask
    )


def _number_array(values: Array, column: Column) -> pa.Array:
    """Array of numbers with null for what was not measured."""
    mask = None
    if column.nullable:
        mask = np.isnan(values) if column.kind == "f8" else values < 0
    return pa.array(values, mask=mask).cast(column.arrow_type)


def step_table(rows: Sequence[StepRow]) -> pa.Table:
    """Arrow table of recorded steps. None becomes null; a loss of nan stays nan."""
    schema = arrow_schema("steps")
    arrays = [
        pa.array([getattr(row, column.name) for row in rows], column.arrow_type)
        for column in FILES["steps"]
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
