"""What the pages of a Parquet file say of themselves, read before anything is unpacked.

A page header of thirty bytes can promise two gigabytes, and the reader behind pyarrow would make
room for them. So the headers are walked first: that they fill the place that the footer gives them,
that their numbers agree with it, and how much memory they ask for.
"""

from __future__ import annotations

from typing import Final

from deephochuli.errors import StoreError
from deephochuli.store._footer import ENCODINGS, ColumnPlace
from deephochuli.store._thrift import Struct, read_struct

_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_COUNTED_IN: Final = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7}
_RUN_LENGTHS = 3
_WIDEST_BYTES = 16


def memory_of(data: bytes, place: ColumnPlace) -> int:
    """Bytes that a column takes when it is unpacked.

    Args:
        data: The file.
        place: Where the column lies.

    Raises:
        StoreError: Its pages contradict the footer, or are no pages.
    """
    position, n_values, unpacked, is_first = place.start, 0, 0, True
    while position < place.stop:
        header, position = read_struct(data, position)
        try:
            kind, grown, packed, counted = _measure(header)
        except (LookupError, TypeError) as error:
            raise StoreError("a page has a header that makes no sense") from error
        position += packed
        if min(packed, grown, counted) < 0 or position > place.stop:
            raise StoreError("a page is larger than its column")
        if kind == _DICTIONARY_PAGE and not is_first:
            raise StoreError("a dictionary comes too late")
        is_first = False
        n_values += 0 if kind == _DICTIONARY_PAGE else counted
        unpacked += max(grown, counted * _WIDEST_BYTES)
    if n_values != place.n_values:
        raise StoreError("the pages of a column have another number of values than it says")
    return unpacked


def _measure(header: Struct) -> tuple[int, int, int, int]:
    """Kind of a page, its bytes unpacked and packed, and its number of values."""
    kind: int = header[1]
    about: Struct = header[_COUNTED_IN[kind]]
    if about[2] not in ENCODINGS:
        raise StoreError("a page is packed in a way that we never use")
    if kind == _DATA_PAGE and not about[3] == about[4] == _RUN_LENGTHS:
        raise StoreError("a page has levels that are packed in a way that we never use")
    return kind, header[2], header[3], about[1]
