"""Rows of several steps become one row per tap: integers exactly, sums of floats rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._ragged import LIST_TYPES, Array, Frame, Ragged
from deephochuli.store._rows import Counts
from deephochuli.store._schema import HISTOGRAMS, SPAN_COLUMNS, TAP_COLUMNS, merged_by

MIXED = 0
"""Index of the word "mixed" in the list of dtype names that belongs to a frame."""

_SUMMED = [c.name for c in merged_by("sum", columns=(*TAP_COLUMNS, *SPAN_COLUMNS))]
_LANES = [c.name for c in merged_by("lanes")]
_KEY_SPAN = 1 << 16
_FEW = 256


def merge_by_tap(frame: Frame) -> Frame:
    """Merge all rows that a tap has in a frame.

    Args:
        frame: Rows in any order, with the columns of rollup.parquet.

    Returns:
        One row per tap, by increasing tap.

    Numerics:
        Histograms, channel counts and all other integers are added in int64: exact below 2**63,
        independent of order. sum and sum_sq are correctly rounded sums (math.fsum) of the rows
        given; merging twice rounds twice. min_abs and max_abs leave out nan.
    """
    if not len(frame):
        return frame
    order = np.argsort(frame.tap, kind="stable")
    if np.any(order[1:] < order[:-1]):
        frame = frame.take(order)
    starts = np.flatnonzero(np.diff(frame.tap, prepend=frame.tap[:1] - 1))
    bounds = np.append(starts, len(frame))
    numbers = _merge_numbers(frame, starts, bounds)
    lists = _merge_histograms(frame, bounds) | _merge_lanes(frame, bounds, numbers)
    return Frame(frame.tap[starts], numbers | channel_numbers(lists["positive"]), lists)


def channel_numbers(positive: Ragged) -> dict[str, Array]:
    """n_channels and n_silent_channels, from the positive elements of each channel."""
    silent = positive.totals((positive.values == 0).astype(np.int64))
    return {
        "n_channels": np.where(positive.present, positive.lengths, -1),
        "n_silent_channels": np.where(positive.present, silent, -1),
    }


def _merge_numbers(frame: Frame, starts: Array, bounds: Array) -> dict[str, Array]:
    """Scalar columns."""
    numbers = frame.numbers
    merged = {name: _add_present(numbers[name], starts) for name in _SUMMED}
    merged |= {c.name: add_float_groups(numbers[c.name], bounds) for c in merged_by("fsum")}
    merged |= {c.name: np.fmin.reduceat(numbers[c.name], starts) for c in merged_by("least")}
    merged |= {c.name: np.fmax.reduceat(numbers[c.name], starts) for c in merged_by("greatest")}
    low = np.minimum.reduceat(numbers["dtype"], starts)
    high = np.maximum.reduceat(numbers["dtype"], starts)
    merged["dtype"] = np.where(low == high, low, MIXED)
    merged["step_first"] = np.minimum.reduceat(numbers["step_first"], starts)
    merged["step_last"] = np.maximum.reduceat(numbers["step_last"], starts)
    return merged


def _add_present(column: Array, starts: Array) -> NDArray[np.int64]:
    """Sums of integers per tap, leaving out rows that have none (-1); -1 where none is left."""
    given = column >= 0
    sums = np.add.reduceat(np.where(given, column, 0).astype(np.int64), starts)
    return np.where(np.logical_or.reduceat(given, starts), sums, -1)


def add_float_groups(column: Array, bounds: Array) -> NDArray[np.float64]:
    """Correctly rounded sum of each group."""
    values: list[float] = column.tolist()
    edges: list[int] = bounds.tolist()
    return np.array([add_floats(values[i:j]) for i, j in pairwise(edges)])


def add_floats(values: Sequence[float]) -> float:
    """Correctly rounded sum; ±inf beyond the range of binary64, nan for inf - inf."""
    try:
        return math.fsum(values)
    except ValueError:  # inf - inf
        return math.nan
    except OverflowError:  # perhaps only on the way: the sum itself may well be finite
        return _add_rationals(values)


def _add_rationals(values: Sequence[float]) -> float:
    """What add_floats says where binary64 is too narrow on the way."""
    if not all(map(math.isfinite, values)):
        return sum(value for value in values if not math.isfinite(value))
    total = sum(map(Fraction, values))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def _merge_histograms(frame: Frame, bounds: Array) -> dict[str, Ragged]:
    """Columns of keys with their counts."""
    merged: dict[str, Ragged] = {}
    for name, count_name in HISTOGRAMS.items():
        keys, counts = frame.lists[name], frame.lists[count_name]
        edges = keys.offsets[bounds]
        is_few = edges[1:] - edges[:-1] <= _FEW
        pairs = _add_few(keys, counts, bounds, is_few)
        places = np.zeros(_KEY_SPAN, np.int64)
        for group in np.flatnonzero(~is_few).tolist():
            i, j = int(bounds[group]), int(bounds[group + 1])
            pairs[group] = add_histograms(keys.slice(i, j), counts.slice(i, j), places)
        merged[name] = Ragged.of([pair and pair[0] for pair in pairs], LIST_TYPES[name])
        merged[count_name] = Ragged.of([pair and pair[1] for pair in pairs], np.int64)
    return merged


def _add_few(
    keys: Ragged, counts: Ragged, bounds: Array, is_few: NDArray[np.bool_]
) -> list[tuple[Array, Counts] | None]:
    """What `add_histograms` says for each group with few keys, by one sort for all of them.

    There may be tens of thousands of such groups, and a call for each costs more than its keys.
    """
    edges = keys.offsets[bounds]
    group = np.repeat(np.arange(len(is_few)), edges[1:] - edges[:-1])
    chosen = is_few[group]
    group, values = group[chosen], keys.values[chosen]
    least = int(np.iinfo(values.dtype).min)
    placed = group * _KEY_SPAN + (values.astype(np.int64) - least)
    order = np.argsort(placed, kind="stable")
    placed, values = placed[order], values[order]
    starts = np.flatnonzero(np.diff(placed, prepend=-1))
    used = values[starts]
    total = np.add.reduceat(counts.values[chosen][order], starts) if len(starts) else starts
    cuts: list[int] = np.searchsorted(
        placed[starts] // _KEY_SPAN, np.arange(len(is_few) + 1)
    ).tolist()
    has_any: list[bool] = np.logical_or.reduceat(keys.present, bounds[:-1]).tolist()
    return [
        (used[i:j], total[i:j]) if any_present else None
        for (i, j), any_present in zip(pairwise(cuts), has_any, strict=True)
    ]


def add_histograms(
    keys: Ragged, counts: Ragged, places: NDArray[np.int64]
) -> tuple[Array, Counts] | None:
    """Sum of some histograms, or None if there is none.

    Args:
        keys: Keys of each histogram, of a type with 16 bits.
        counts: Their counts.
        places: 2**16 integers for use as a table; what they hold does not matter.

    Returns:
        The keys of all, increasing, and the sum of the counts of each in int64.
    """
    if not keys.present.any():
        return None
    if len(keys) == 1:
        return keys.values, counts.values
    is_used = np.zeros(_KEY_SPAN, np.bool_)
    # A negative key counts from the end of the table, where its 16 bits lead to as well.
    is_used[keys.values] = True
    used = np.sort(np.flatnonzero(is_used).astype(np.uint16).view(keys.values.dtype))
    places[used] = np.arange(len(used))
    total = np.zeros(len(used), np.int64)
    np.add.at(total, places[keys.values], counts.values)
    return used, total


def _merge_lanes(frame: Frame, bounds: Array, numbers: dict[str, Array]) -> dict[str, Ragged]:
    """Counts per channel, added channel by channel.

    Rows without counts are left out. Where the number of channels changed there is no such sum:
    the merged row has no counts, and n_per_channel is taken back.
    """
    groups = list(pairwise(bounds.tolist()))
    merged: dict[str, Ragged] = {}
    for name in _LANES:
        lists = frame.lists[name]
        counted: list[bool] = np.logical_or.reduceat(lists.present, bounds[:-1]).tolist()
        merged[name] = Ragged.of(
            [
                _add_lanes(lists.slice(i, j)) if any_counted else None
                for (i, j), any_counted in zip(groups, counted, strict=True)
            ],
            np.int64,
        )
    numbers["n_per_channel"] = np.where(merged["positive"].present, numbers["n_per_channel"], -1)
    return merged


def _add_lanes(lists: Ragged) -> NDArray[Any] | None:
    """Sum of the lists of one tap, or None if there is none or their lengths differ."""
    lengths = lists.lengths[lists.present]
    if not len(lengths) or np.any(lengths != lengths[0]):
        return None
    return lists.values.reshape(len(lengths), lengths[0]).sum(axis=0)
