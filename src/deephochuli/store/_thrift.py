"""The compact protocol of Apache Thrift, in which Parquet writes headers and footers.

pyarrow reads them too, but it was made for files of friends: numbers that are impossible can end
the process. So they are read here first, where the worst is an exception.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from deephochuli.errors import StoreError

Struct: TypeAlias = dict[int, Any]
"""Fields by their number: int, bool, bytes, list or `Struct`."""

_TRUE, _FALSE, _BYTE, _I16, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 4, 6, 7, 8, 9, 12
_MOST_DEPTH: Final = 8
_MOST_IN_A_LIST: Final = 1 << 10
_LONG_LIST: Final = 15
_MOST_BITS: Final = 63


def read_struct(data: bytes, position: int) -> tuple[Struct, int]:
    """Read one struct.

    Args:
        data: Where it stands.
        position: At which byte it begins.

    Returns:
        Its fields, and the byte behind it.

    Raises:
        StoreError: There is no struct.
    """
    try:
        return _read_struct(data, position, _MOST_DEPTH)
    except IndexError as error:
        raise StoreError("a header or a footer is cut short") from error


def _read_struct(data: bytes, position: int, depth: int) -> tuple[Struct, int]:
    if depth == 0:
        raise StoreError("a header or a footer is too deep")
    fields: Struct = {}
    number = 0
    while head := data[position]:
        position += 1
        kind = head & 15
        if head > 15:
            number += head >> 4
        else:
            number, position = _read_integer(data, position)
        if number in fields:
            raise StoreError("a header or a footer has a field twice")
        if _I16 <= kind <= _I64:  # nearly all fields; most take one byte
            value = data[position]
            position += 1
            if value > 127:
                value, position = _read_varint(data, position - 1)
            fields[number] = (value >> 1) ^ -(value & 1)
        elif kind == _STRUCT:
            fields[number], position = _read_struct(data, position, depth - 1)
        else:
            fields[number], position = _read_value(data, position, kind, depth)
    return fields, position + 1


def _read_value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == _BINARY:
        length, position = _read_varint(data, position)
        if position + length > len(data):
            raise StoreError("a header or a footer has a text that is too long")
        return data[position : position + length], position + length
    if kind == _LIST:
        return _read_list(data, position, depth)
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind in (_BYTE, _DOUBLE):
        return None, position + (1 if kind == _BYTE else 8)
    raise StoreError("a header or a footer has a field of a kind that Parquet never uses")


def _read_list(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    size, kind = data[position] >> 4, data[position] & 15
    position += 1
    if size == _LONG_LIST:
        size, position = _read_varint(data, position)
    if size > _MOST_IN_A_LIST:
        raise StoreError("a header or a footer has a list that is too long")
    values: list[Any] = []
    for _ in range(size):
        if kind == _STRUCT:
            value, position = _read_struct(data, position, depth - 1)
        elif kind in (_TRUE, _FALSE):  # in a list, unlike in a struct, these take a byte
            value, position = data[position] == _TRUE, position + 1
        elif _I16 <= kind <= _I64:
            value, position = _read_integer(data, position)
        else:
            value, position = _read_value(data, position, kind, depth - 1)
        values.append(value)
    return values, position


def _read_integer(data: bytes, position: int) -> tuple[int, int]:
    """A signed integer: its sign is the lowest bit."""
    value, position = _read_varint(data, position)
    return (value >> 1) ^ -(value & 1), position


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, lowest first."""
    value = shift = 0
    while (byte := data[position]) > 127:
        value |= (byte & 127) << shift
        shift, position = shift + 7, position + 1
        if shift > _MOST_BITS:
            raise StoreError("a header or a footer has a number that is too long")
    return value | byte << shift, position + 1
