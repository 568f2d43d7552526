"""Rows of several steps become one row per tap: integers exactly, sums of floats rounded once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._ragged import Array, Frame, Ragged, offsets_of
from deephochuli.store._rows import Counts
from deephochuli.store._schema import HISTOGRAMS, SPAN_COLUMNS, TAP_COLUMNS, merged_by

MIXED = 0
"""Index of the word "mixed" in the list of dtype names that belongs to a frame."""

_SUMMED = [c.name for c in merged_by("sum", columns=(*TAP_COLUMNS, *SPAN_COLUMNS))]
_LANES = [c.name for c in merged_by("lanes")]
_KEY_SPAN = 1 << 16
_SPARSE = 4
_AT_ONCE = 1 << 17
_WIDEST = np.iinfo(np.int64).max


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
    frame = by_tap(frame)
    starts = np.flatnonzero(np.diff(frame.tap, prepend=frame.tap[:1] - 1))
    bounds = np.append(starts, len(frame))
    numbers = _merge_numbers(frame, starts, bounds)
    lists = _merge_histograms(frame, bounds) | _merge_lanes(frame, bounds, numbers)
    return Frame(frame.tap[starts], numbers | channel_numbers(lists["positive"]), lists)


def by_tap(frame: Frame) -> Frame:
    """The rows of a frame, by increasing tap and then as they came: itself if they are so."""
    if np.all(frame.tap[1:] >= frame.tap[:-1]):
        return frame
    return frame.take(np.argsort(frame.tap, kind="stable"))


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
        merged[name], merged[count_name] = add_histograms(keys, counts, bounds)
    return merged


def add_histograms(keys: Ragged, counts: Ragged, bounds: Array) -> tuple[Ragged, Ragged]:
    """Sum of the histograms of each group of rows.

    Args:
        keys: Keys of each histogram, of a type with 16 bits.
        counts: Their counts, 1 at least.
        bounds: First row of each group, which has one row at least, and the number of rows.

    Returns:
        The keys of each group, increasing, and the sum of the counts of each in int64; no list
        where no row of a group has one.
    """
    edges = keys.offsets[bounds]
    # A group that begins in each stretch of this length, so that little is in memory at once.
    cuts = np.searchsorted(edges, np.arange(0, int(edges[-1]), _AT_ONCE))
    parts: list[tuple[Ragged, Ragged]] = []
    for i, j in pairwise(sorted({0, *cuts.tolist(), len(bounds) - 1})):
        first, last = int(bounds[i]), int(bounds[j])
        of_some = keys.slice(first, last), counts.slice(first, last)
        parts.append(_add_groups(*of_some, bounds[i : j + 1] - first))
    merged_keys, merged_counts = zip(*parts, strict=True)
    dtype = keys.values.dtype.type
    return Ragged.joined(merged_keys, dtype), Ragged.joined(merged_counts, np.int64)


def _add_groups(keys: Ragged, counts: Ragged, bounds: Array) -> tuple[Ragged, Ragged]:
    """What `add_histograms` says, of few groups at once."""
    n_groups = len(bounds) - 1
    group = np.repeat(np.arange(n_groups), np.diff(keys.offsets[bounds]))
    least = int(np.iinfo(keys.values.dtype).min)
    shifted = keys.values.astype(np.int64) - least
    used = np.flatnonzero(np.bincount(shifted, minlength=_KEY_SPAN))
    if n_groups * len(used) <= _SPARSE * len(shifted):
        of_group, key, total = _add_in_table(group, shifted, counts.values, used)
    else:
        of_group, key, total = _add_sorted(group, shifted, counts.values)
    offsets = offsets_of(np.bincount(of_group, minlength=n_groups))
    present = np.logical_or.reduceat(keys.present, bounds[:-1])
    key = (key + least).astype(keys.values.dtype)
    return Ragged(key, offsets, present), Ragged(total, offsets, present)


def _add_in_table(
    group: Array, key: Array, counts: Array, used: Array
) -> tuple[Array, Array, Counts]:
    """Sums by group and key where most groups have most keys: a row of a table for each group."""
    column = np.zeros(_KEY_SPAN, np.int64)
    column[used] = np.arange(len(used))
    table = np.zeros((int(group[-1]) + 1 if len(group) else 0) * len(used), np.int64)
    np.add.at(table, group * len(used) + column[key], counts)
    cells = np.flatnonzero(table)
    of_group, of_key = np.divmod(cells, max(len(used), 1))
    return of_group, used[of_key], table[cells]


def _add_sorted(group: Array, key: Array, counts: Array) -> tuple[Array, Array, Counts]:
    """The same where groups have few of the keys, as tens of thousands of small tensors do."""
    placed = group * _KEY_SPAN + key
    # Rows are sorted each by itself: a stable sort has only to merge them.
    order = np.argsort(placed, kind="stable")
    placed = placed[order]
    starts = np.flatnonzero(np.diff(placed, prepend=-1))
    total = np.add.reduceat(counts[order], starts)
    return *np.divmod(placed[starts], _KEY_SPAN), total


def _merge_lanes(frame: Frame, bounds: Array, numbers: dict[str, Array]) -> dict[str, Ragged]:
    """Counts per channel, added channel by channel.

    Rows without counts are left out. Where the number of channels changed there is no such sum:
    the merged row has no counts, and n_per_channel is taken back.
    """
    merged = {name: add_lanes(frame.lists[name], bounds) for name in _LANES}
    numbers["n_per_channel"] = np.where(merged["positive"].present, numbers["n_per_channel"], -1)
    return merged


def add_lanes(lists: Ragged, bounds: Array) -> Ragged:
    """Sum of the lists of each group of rows, element by element.

    Args:
        lists: Lists of int64.
        bounds: First row of each group, which has one row at least, and the number of rows.

    Returns:
        The sum of each group; no list where it has none, or lists of different lengths.
    """
    starts = bounds[:-1]
    n_lists = np.add.reduceat(lists.present.astype(np.int64), starts)
    widest = np.maximum.reduceat(np.where(lists.present, lists.lengths, -1), starts)
    narrowest = np.minimum.reduceat(np.where(lists.present, lists.lengths, _WIDEST), starts)
    is_sum = widest == narrowest
    width = np.where(is_sum, widest, 0)
    edges = lists.offsets[bounds]
    parts = [np.empty(0, np.int64)]
    # Neighbours of one shape, such as a tap in several steps, are added at once.
    for i, j in _runs(np.stack([is_sum, n_lists, width])):
        if is_sum[i]:
            block = lists.values[edges[i] : edges[j]].reshape(j - i, n_lists[i], width[i])
            parts.append(block.sum(axis=1).ravel())
    return Ragged(np.concatenate(parts), offsets_of(width), is_sum)


def _runs(columns: Array) -> Iterator[tuple[int, int]]:
    """First column of each run of equal columns, and the one after its last."""
    changes = np.flatnonzero(np.any(columns[:, 1:] != columns[:, :-1], axis=0)) + 1
    return pairwise([0, *changes.tolist(), columns.shape[1]])
