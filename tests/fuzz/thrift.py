"""Write Thrift's compact protocol: footers and page headers that say what no writer would."""

from typing import Any

Field = tuple[int, Any]  # kind and value


def read(data: bytes, position: int = 0) -> tuple[dict[int, Field], int]:
    """Fields of a struct with their kinds, and where it ends."""
    fields: dict[int, Field] = {}
    number = 0
    while head := data[position]:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _signed(data, position)
        value, position = _value(data, position, head & 15)
        fields[number] = (head & 15, value)
    return fields, position + 1


def places(data: bytes, start: int, found: list[tuple[int, int]]) -> int:
    """Where the integers of a struct stand, as first byte and the one behind; returns its end."""
    position = start
    while head := data[position]:
        position += 1
        if not head >> 4:
            _, position = _signed(data, position)
        position = _place_value(data, position, head & 15, found)
    return position + 1


def _place_value(data: bytes, position: int, kind: int, found: list[tuple[int, int]]) -> int:
    if kind in (4, 5, 6):
        _, stop = _signed(data, position)
        found.append((position, stop))
        return stop
    if kind == 12:
        return places(data, position, found)
    if kind == 9:
        size, of = data[position] >> 4, data[position] & 15
        position += 1
        if size == 15:
            size, position = _unsigned(data, position)
        for _ in range(size):
            position = position + 1 if of in (1, 2) else _place_value(data, position, of, found)
        return position
    return _value(data, position, kind)[1]


def signed(value: int) -> bytes:
    """A signed integer."""
    return _varint(_zigzag(value))


def write(fields: dict[int, Field]) -> bytes:
    """The struct again."""
    parts: list[bytes] = []
    last = 0
    for number, (kind, value) in fields.items():
        if 0 < number - last < 16:
            parts.append(bytes([(number - last) << 4 | kind]))
        else:
            parts.append(bytes([kind]) + _varint(_zigzag(number)))
        last = number
        parts.append(_write_value(kind, value))
    return b"".join(parts) + b"\0"


def _value(data: bytes, position: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, position
    if kind == 3:
        return data[position], position + 1
    if kind in (4, 5, 6):
        return _signed(data, position)
    if kind == 7:
        return data[position : position + 8], position + 8
    if kind == 8:
        size, position = _unsigned(data, position)
        return data[position : position + size], position + size
    if kind == 9:
        return _list(data, position)
    assert kind == 12
    return read(data, position)


def _list(data: bytes, position: int) -> tuple[Any, int]:
    size, kind = data[position] >> 4, data[position] & 15
    position += 1
    if size == 15:
        size, position = _unsigned(data, position)
    values: list[Any] = []
    for _ in range(size):
        if kind in (1, 2):
            values.append(data[position])
            position += 1
        else:
            value, position = _value(data, position, kind)
            values.append(value)
    return (kind, values), position


def _write_value(kind: int, value: Any) -> bytes:
    if kind in (1, 2):
        return b""
    if kind == 3:
        return bytes([value])
    if kind in (4, 5, 6):
        return _varint(_zigzag(value))
    if kind == 7:
        return value
    if kind == 8:
        return _varint(len(value)) + value
    if kind == 9:
        of, values = value
        size = len(values)
        head = bytes([size << 4 | of]) if size < 15 else bytes([0xF0 | of]) + _varint(size)
        parts = [bytes([v]) if of in (1, 2) else _write_value(of, v) for v in values]
        return head + b"".join(parts)
    return write(value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _signed(data: bytes, position: int) -> tuple[int, int]:
    value, position = _unsigned(data, position)
    return (value >> 1) ^ -(value & 1), position


def _unsigned(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while data[position] > 127:
        value |= (data[position] & 127) << shift
        shift, position = shift + 7, position + 1
    return value | data[position] << shift, position + 1
