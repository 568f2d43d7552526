"""Arrow arrays as numpy arrays, by way of their buffers.

pyarrow's own conversion imports pandas where it is installed: that takes longer than to read a run.
"""

# pyarrow ships no type stubs, so that everything it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._ragged import Array, Ragged
from deephochuli.store._schema import NUMPY_TYPES, Column

Values: TypeAlias = Any
"""A column in memory: an array, `Ragged` or `Texts`, as its kind has it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of few different texts: row i is ``names[codes[i]]``."""

    codes: NDArray[np.int64]
    names: list[str]


def to_numpy(chunked: pa.ChunkedArray, column: Column) -> Values:
    """Numpy form of a column; -1 or nan for null.

    Raises:
        StoreError: A row has no value although the column is not nullable.
    """
    if chunked.null_count and not column.nullable:
        raise StoreError(f"column {column.name!r} has rows without a value")
    if column.kind == "text":
        return _texts(chunked)
    dtype = NUMPY_TYPES[column.kind]
    if column.is_list:
        return Ragged.joined([_ragged(array, dtype) for array in chunked.chunks], dtype)
    parts = [_numbers(array, dtype) for array in chunked.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def is_given(chunked: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where a column is not null."""
    parts = [_present(array) for array in chunked.chunks]
    return np.concatenate([np.empty(0, np.bool_), *parts])


def _present(array: pa.Array) -> NDArray[np.bool_]:
    bits = array.buffers()[0]
    if bits is None or array.null_count == 0:
        return np.ones(len(array), np.bool_)
    return _bits(bits, array)


def _bits(buffer: pa.Buffer, array: pa.Array) -> NDArray[np.bool_]:
    packed = np.frombuffer(buffer, np.uint8)
    count = array.offset + len(array)
    bits: NDArray[np.uint8] = np.unpackbits(packed, count=count, bitorder="little")
    return bits[array.offset :].view(np.bool_)


def _plain(array: pa.Array, dtype: Any) -> Array:
    """Values of an array, whatever stands where it is null."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    if dtype is np.bool_:
        return _bits(buffer, array)
    size = np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype, len(array), array.offset * size)


def _numbers(array: pa.Array, dtype: Any) -> Array:
    values = _plain(array, dtype)
    if not array.null_count:
        return values
    missing = np.nan if np.dtype(dtype).kind == "f" else -1
    return np.where(_present(array), values, np.array(missing, dtype))


def _ragged(array: pa.ListArray, dtype: Any) -> Ragged:
    """Lists of an Arrow list array; null rows take no room."""
    offsets: NDArray[np.int64] = np.zeros(1, np.int64)
    if len(array):
        ends = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
        offsets = ends.astype(np.int64)
    present, lengths = _present(array), np.diff(offsets)
    elements = array.values
    if elements.null_count:
        raise StoreError("a list has elements without a value")
    if np.any(lengths < 0) or np.any(lengths[~present]) or offsets[-1] > len(elements):
        raise StoreError("the lengths of the lists do not add up to the number of values")
    values = _plain(elements, dtype)[offsets[0] : offsets[-1]]
    return Ragged(values, offsets - offsets[0], present)


def _texts(chunked: pa.ChunkedArray) -> Texts:
    if not pa.types.is_dictionary(chunked.type):
        chunked = chunked.dictionary_encode()
    places: dict[str, int] = {}
    parts = [np.empty(0, np.int64)]
    for array in chunked.chunks:
        names: list[str] = array.dictionary.to_pylist()
        place = np.array([places.setdefault(name, len(places)) for name in names], np.int64)
        codes = _plain(array.indices, np.int32)
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(names):
            raise StoreError("a text is missing from its dictionary")
        parts.append(place[codes])
    return Texts(np.concatenate(parts), list(places))
