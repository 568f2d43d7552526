"""Rules that rows must keep, asked of what is written and of what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._ragged import Ragged
from deephochuli.store._schema import HISTOGRAMS

_CHANNELS = ("positive", "zero", "nonfinite")


def list_faults(lists: Mapping[str, Ragged]) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Faults in columns of lists: which rows, and what is wrong with them.

    Args:
        lists: Columns by name; a rule is asked if all columns that it needs are there.
    """
    for keys, counts in HISTOGRAMS.items():
        if keys in lists and counts in lists:
            yield from _histogram_faults(lists[keys], lists[counts], keys, counts)
    for name in _CHANNELS[1:]:
        if name in lists and "positive" in lists:
            differs = _unlike(lists["positive"], lists[name])
            yield differs, f"lists 'positive' and {name!r} differ in length"
    for name in _CHANNELS:
        if name in lists:
            yield _rows_with(lists[name], lists[name].values < 0), f"a negative count in {name!r}"


def _histogram_faults(
    keys: Ragged, counts: Ragged, key_name: str, count_name: str
) -> Iterator[tuple[NDArray[np.bool_], str]]:
    yield _unlike(keys, counts), f"lists {key_name!r} and {count_name!r} differ in length"
    rises = np.ones(len(keys.values), np.bool_)
    rises[1:] = keys.values[1:] > keys.values[:-1]
    rises[keys.offsets[:-1][keys.lengths > 0]] = True
    yield _rows_with(keys, ~rises), f"list {key_name!r} does not increase strictly"
    yield _rows_with(counts, counts.values <= 0), f"a count below 1 in {count_name!r}"


def total_faults(
    lists: Mapping[str, Ragged], numbers: Mapping[str, Any]
) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """Rows whose lists do not add up to their numbers; lists have passed `list_faults`."""
    if "count" in lists and "n" in numbers:
        yield lists["count"].totals() != numbers["n"], "'count' does not add up to 'n'"
    if set(_CHANNELS) <= set(lists) and "n_per_channel" in numbers:
        counted = sum(lists[name].values for name in _CHANNELS)
        most = np.repeat(numbers["n_per_channel"], lists["positive"].lengths)
        yield (
            _rows_with(lists["positive"], counted > most),
            "a channel has more counted elements than 'n_per_channel'",
        )


def _unlike(a: Ragged, b: Ragged) -> NDArray[np.bool_]:
    return (a.lengths != b.lengths) | (a.present != b.present)


def _rows_with(lists: Ragged, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows with a chosen element."""
    rows = np.zeros(len(lists), np.bool_)
    if chosen.any():
        rows[np.searchsorted(lists.offsets, np.flatnonzero(chosen), "right") - 1] = True
    return rows
