"""What the footer of a Parquet file says, believed as far as the file can be of ours.

Everything is checked that pyarrow would follow: where pages lie, how many values they have, how
they are packed, and what the columns are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from deephochuli.errors import StoreError
from deephochuli.store._thrift import Struct, read_struct

MAGIC: Final = b"PAR1"
TAIL_BYTES: Final = 8
MOST_FOOTER_BYTES: Final = 1 << 20
MOST_COLUMNS: Final = 1 << 8

ENCODINGS: Final = frozenset((0, 2, 3, 8, 9))
"""Plain, by dictionary (old and new number), run lengths, bytes split into streams."""
_CODECS: Final = frozenset((0, 1, 6))
"""None, Snappy, Zstandard."""
_LARGEST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column of values.

    Attributes:
        name: Name of the column that people see.
        path: Names from the root to the values.
        type: Number of the physical type.
        is_list: A row holds any number of values.
    """

    name: str
    path: tuple[bytes, ...]
    type: int
    is_list: bool


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """Where the pages of a column of a row group lie.

    Attributes:
        start: First byte.
        stop: Byte behind the last.
        n_values: Values, with those that are null.
    """

    start: int
    stop: int
    n_values: int


@dataclass(frozen=True, slots=True)
class Footer:
    """A footer that keeps all rules.

    Attributes:
        n_rows: Rows of each row group.
        places: For each row group, its columns by name.
    """

    n_rows: list[int]
    places: list[dict[str, ColumnPlace]]


def read_footer(data: bytes) -> Footer:
    """Read the footer of a file.

    Raises:
        StoreError: The file is cut short, is no Parquet file, or none that we could have written.
    """
    size = int.from_bytes(data[-TAIL_BYTES:-4], "little")
    if len(data) < TAIL_BYTES + 4 or data[:4] != MAGIC or data[-4:] != MAGIC:
        raise StoreError("it is no Parquet file, or it is cut short")
    if size > min(len(data) - TAIL_BYTES - 4, MOST_FOOTER_BYTES):
        raise StoreError("its footer is longer than it can be")
    start = len(data) - TAIL_BYTES - size
    try:
        fields, stop = read_struct(data[start:-TAIL_BYTES], 0)
        if stop != size or 8 in fields or 9 in fields:
            raise StoreError("its footer is not one of ours")
        leaves = list(_leaves(fields[2]))
        groups = [_read_group(group, leaves, start) for group in fields[4]]
        if sum(n_rows for n_rows, _ in groups) != fields[3]:
            raise StoreError("its row groups have another number of rows than it says")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError("its footer lacks something, or has it in another form") from error
    return Footer([n_rows for n_rows, _ in groups], [places for _, places in groups])


def _leaves(elements: list[Struct]) -> Iterator[Leaf]:
    """Columns of the schema: plain ones, and lists in the three levels that Parquet asks for."""
    if not 1 <= len(elements) <= MOST_COLUMNS:
        raise StoreError(f"its schema has {len(elements)} parts")
    position = 1
    for _ in range(elements[0][5]):
        element = elements[position]
        path = (element[4],)
        name = element[4].decode()
        position += 1
        if is_list := bool(element.get(5)):
            middle, element = elements[position], elements[position + 1]
            position += 2
            if elements[position - 3][5] != 1 or middle.get(5) != 1 or middle.get(3) != 2:
                raise StoreError(f"column {name[:80]!r} is no list")
            path = (*path, middle[4], element[4])
        if element.get(5) or element.get(3) not in (0, 1) or not 0 <= element[1] <= 7:
            raise StoreError(f"column {name[:80]!r} is no column of values")
        yield Leaf(name, path, element[1], is_list)
    if position != len(elements):
        raise StoreError("its schema has parts that belong nowhere")


def _read_group(group: Struct, leaves: list[Leaf], end: int) -> tuple[int, dict[str, ColumnPlace]]:
    """Rows of a row group, and where its columns lie."""
    n_rows = group[3]
    if not 0 <= n_rows <= _LARGEST or len(group[1]) != len(leaves):
        raise StoreError("a row group has another number of rows or columns than it can have")
    places = {
        leaf.name: _read_column(chunk, leaf, n_rows, end)
        for chunk, leaf in zip(group[1], leaves, strict=True)
    }
    if len(places) != len(leaves):
        raise StoreError("it has two columns of one name")
    return n_rows, places


def _read_column(chunk: Struct, leaf: Leaf, n_rows: int, end: int) -> ColumnPlace:
    if 1 in chunk or 8 in chunk or 9 in chunk:
        raise StoreError("a column lies in another file, or is encrypted")
    about: Struct = chunk[3]
    if tuple(about[3]) != leaf.path or about[1] != leaf.type:
        raise StoreError("a column is not what the schema says")
    if about[4] not in _CODECS or not ENCODINGS.issuperset(about[2]):
        raise StoreError("a column is packed in a way that we never use")
    if n_rows == 0:
        return ColumnPlace(0, 0, 0)  # it has no pages, and says nothing of use on where they are
    start: int = about[9]
    if (dictionary := about.get(11)) is not None:
        start = min(start, dictionary)
    place = ColumnPlace(start, start + about[7], about[5])
    if not 4 <= place.start <= about[9] <= place.stop <= end:
        raise StoreError("a column lies outside of the file")
    if not 0 <= about[6] <= _LARGEST or not 0 <= place.n_values <= _LARGEST:
        raise StoreError("a column is larger than it can be")
    if place.n_values < n_rows if leaf.is_list else place.n_values != n_rows:
        raise StoreError("a column has another number of values than of rows")
    return place
