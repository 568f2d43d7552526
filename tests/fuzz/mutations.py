"""Ways to spoil a run folder: each takes files as bytes and gives them back changed."""

import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tests.fuzz import thrift

Files = dict[str, bytes]
"""Content of the files of one chunk, and of manifest.json, by name."""

PARQUET = ("taps.parquet", "sketches.parquet", "rollup.parquet", "steps.parquet")
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 1 << 10, 1 << 15, 1 << 16, (1 << 31) - 1, 1 << 31),
    *(-(1 << 31), (1 << 32) - 1, 1 << 32, 10**12, (1 << 62), (1 << 63) - 1, -(1 << 63), 1 << 64),
)
TEXTS = (
    "",
    "x" * 5000,
    "../../etc",
    "/dev/zero",
    "\ud800",
    "\0",
    "\u202e",
    "NaN",
    "1e999",
    "chunk-000000",
)


def seal(files: Files) -> None:
    """Make chunk.json agree with the files that are there."""
    body = json.loads(files["chunk.json"])
    body.pop("crc32", None)
    for name in body["files"]:
        data = files[name]
        body["files"][name] = {"n_bytes": len(data), "crc32": zlib.crc32(data)}
    write_seal(files, body)


def write_seal(files: Files, body: Any) -> None:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    crc = zlib.crc32(text.encode())
    if isinstance(body, dict):
        body = body | {"crc32": crc}
    files["chunk.json"] = json.dumps(body).encode()


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        changed[_place(changed, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    place, size = _place(data, rng), rng.choice((1, 2, 4, 8, 64))
    filling = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", None))
    new = rng.randbytes(size) if filling is None else filling * size
    return (data[:place] + new + data[place + size :])[: len(data)]


def insert(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + rng.randbytes(rng.choice((1, 2, 8, 100))) + data[place:]


def delete(data: bytes, rng: random.Random) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + rng.choice((1, 2, 8, 100)) :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def repeat(data: bytes, rng: random.Random) -> bytes:
    start, size = _place(data, rng), rng.choice((1, 8, 100, 1000))
    return data[:start] + data[start : start + size] * rng.choice((2, 3, 50)) + data[start + size :]


def lie_about_footer_size(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[-8:-4], "little")
    new = rng.choice((*NUMBERS, size + 1, size - 1, len(data), len(data) - 8, len(data) - 12))
    return data[:-8] + (new & 0xFFFFFFFF).to_bytes(4, "little") + data[-4:]


def _place(data: bytes | bytearray, rng: random.Random) -> int:
    """A byte: half of them in the footer, where most is decided."""
    if len(data) > 12 and rng.random() < 0.5:
        size = min(int.from_bytes(data[-8:-4], "little") + 8, len(data))
        return len(data) - 1 - rng.randrange(size)
    return rng.randrange(len(data)) if data else 0


_integers: dict[bytes, list[tuple[int, int]]] = {}


def lie_in_numbers(data: bytes, rng: random.Random) -> bytes:
    """A well-formed footer with another number."""
    size = int.from_bytes(data[-8:-4], "little")
    start = len(data) - 8 - size
    if data not in _integers:
        thrift.places(data, start, _integers.setdefault(data, []))
    first, stop = rng.choice(_integers[data])
    new = thrift.signed(rng.choice((*NUMBERS, rng.randrange(20), rng.randrange(len(data)))))
    size += len(new) - (stop - first)
    return data[:first] + new + data[stop:-8] + size.to_bytes(4, "little") + b"PAR1"


def lie_in_footer(data: bytes, rng: random.Random) -> bytes:
    """A well-formed footer that says something else."""
    size = int.from_bytes(data[-8:-4], "little")
    fields, _ = thrift.read(data[-8 - size : -8])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _lie(fields, rng)
    return _with_footer(data[: -8 - size], fields)


def _with_footer(body: bytes, fields: dict[int, thrift.Field]) -> bytes:
    footer = thrift.write(fields)
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def lie_in_page(data: bytes, rng: random.Random) -> bytes:
    """A well-formed page header that says something else, in a file that has room for it."""
    size = int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read(data[-8 - size : -8])
    group = rng.choice(footer[4][1][1])
    column = rng.choice(group[1][1][1])[3][1]
    start = min(column[9][1], column.get(11, column[9])[1])
    header, stop = thrift.read(data, start)
    _lie(header, rng)
    new = thrift.write(header)
    grown = len(new) - (stop - start)
    column[7] = (column[7][0], column[7][1] + grown)
    _move(footer, start, grown)
    return _with_footer(data[:start] + new + data[stop : -8 - size], footer)


def _move(footer: dict[int, thrift.Field], start: int, grown: int) -> None:
    """Shift what lies behind a page that has grown."""
    for group in footer[4][1][1]:
        for column in group[1][1][1]:
            about = column[3][1]
            for number in (9, 11):
                if number in about and about[number][1] > start:
                    about[number] = (about[number][0], about[number][1] + grown)


def _lie(fields: dict[int, thrift.Field], rng: random.Random) -> None:
    """Change one thing somewhere in a struct."""
    while True:
        number = rng.choice(list(fields))
        kind, value = fields[number]
        if kind == 12 and value and rng.random() < 0.9:
            fields = value
        elif kind == 9 and value[0] == 12 and value[1] and rng.random() < 0.9:
            fields = rng.choice(value[1])
        else:
            break
        if not fields:
            return
    fields[number] = _another(kind, value, rng)
    if rng.random() < 0.1:
        del fields[number]
    elif rng.random() < 0.05:
        fields[number + rng.randrange(1, 9)] = (kind, value)


def _another(kind: int, value: Any, rng: random.Random) -> thrift.Field:
    if kind in (4, 5, 6):
        near = value + rng.choice((-8, -1, 1, 8))
        return kind, rng.choice((*NUMBERS, near, value * 2, rng.randrange(20)))
    if kind == 8:
        return kind, rng.choice((b"", b"\xff\xfe", b"x" * 5000, value + b"x", value[:-1], b"step"))
    if kind == 9:
        of, values = value
        chosen = rng.randrange(5)
        if chosen == 0:
            return kind, (of, values[: len(values) // 2])
        if chosen == 1:
            return kind, (of, values * rng.choice((2, 40)))
        if chosen == 2 and of in (4, 5, 6):
            return kind, (of, [rng.choice(NUMBERS) for _ in values])
        return kind, (of, rng.sample(values, len(values)))
    if kind in (1, 2):
        return 3 - kind, value
    return kind, value


def spoil_json(text: bytes, rng: random.Random) -> Any:
    """A JSON object in which one thing is another."""
    data = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _spoil(data, rng)
    return data


def _spoil(data: Any, rng: random.Random) -> None:
    while True:
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        if not keys:
            return
        key = rng.choice(keys)
        if not (isinstance(data[key], dict | list) and data[key] and rng.random() < 0.7):
            break
        data = data[key]
    if rng.random() < 0.15 and isinstance(data, dict):
        del data[key]
    elif rng.random() < 0.1 and isinstance(data, dict):
        data[f"{key}_"] = data[key]
    else:
        data[key] = _odd_value(rng)


def _odd_value(rng: random.Random) -> Any:
    deep: Any = 0
    for _ in range(rng.choice((3, 50, 400))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return rng.choice(
        (
            None, True, 0.5, float("nan"), float("inf"), -1.5e300, [], {}, [[]], {"": {}}, deep,
            10 ** rng.choice((5, 20, 300, 4000)), rng.choice(NUMBERS), rng.choice(TEXTS),
            [rng.choice(NUMBERS)] * 300, {str(i): i for i in range(300)}, [None] * 1000,
        )
    )  # fmt: skip


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip_bits, flip_bits, overwrite, overwrite, insert, delete, cut, repeat),
    lie_about_footer_size,
)
LIES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(lie_in_numbers, lie_in_numbers, lie_in_numbers, lie_in_numbers, lie_in_numbers),
    *(lie_in_footer, lie_in_page),
)


def bomb(data: bytes, rng: random.Random) -> bytes:
    """A page of few bytes that unpacks to many, in a file that says so or does not."""
    size = int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read(data[-8 - size : -8])
    column = rng.choice(rng.choice(footer[4][1][1])[1][1][1])[3][1]
    start = min(column[9][1], column.get(11, column[9])[1])
    header, stop = thrift.read(data, start)
    packed = rng.choice(_BOMBS)()
    old = header[3][1]
    header[2] = (5, rng.choice((header[2][1], _BOMB_BYTES, (1 << 31) - 1)))
    header[3] = (5, len(packed))
    header.pop(4, None)  # the checksum of the page
    new = thrift.write(header) + packed
    grown = len(new) - (stop - start) - old
    column[7] = (column[7][0], column[7][1] + grown)
    column[6] = (column[6][0], header[2][1])
    if rng.random() < 0.5:
        count = _BOMB_BYTES // 8
        about = header.get(5, header.get(7, header.get(8)))
        about[1][1] = (5, count)
        column[5] = (column[5][0], count)
        new = thrift.write(header) + packed
        grown = len(new) - (stop - start) - old
    _move(footer, start, grown)
    return _with_footer(data[:start] + new + data[stop + old : -8 - size], footer)


_BOMB_BYTES = 1 << 30


def _lazy(make: Callable[[], bytes]) -> Callable[[], bytes]:
    made: list[bytes] = []

    def get() -> bytes:
        if not made:
            made.append(make())
        return made[0]

    return get


def _zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


_BOMBS = (
    _lazy(lambda: _zstd(bytes(_BOMB_BYTES >> 6)) * (1 << 6)),  # frames one after the other
    _lazy(lambda: _zstd(b"\xfe\xff\xff\xff\x0f\x00" * 1000)),  # runs of 2**31 equal levels
    _lazy(lambda: _zstd(b"\x06\x00\x00\x00\xfe\xff\xff\xff\x0f\x01" + bytes(100_000))),
)
