"""From the histograms of a run to the arrays of a page, merged over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from deephochuli.report._rows import Floats, Ints, Rows
from deephochuli.report._timeline import Timeline
from deephochuli.store import Ragged

MAGNITUDE: Final = 0x7FFF
SIGN: Final = 0x8000
INFINITY_KEY: Final = 0x7FF0
NAN_KEY: Final = 0x7FF8
KEYS_PER_BINADE_LOG2: Final = 4
_NOWHERE: Final = 0xFFFF
_ODD: Final = {"zero": 0, "inf": INFINITY_KEY, "nan": NAN_KEY}
_KEYS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Entries:
    """Histograms of many rows, one after the other.

    Attributes:
        tap: Which histogram each row belongs to, from 0.
        bins: Time bin of each row.
        keys: Keys of each row.
        counts: Their counts.
    """

    tap: Ints
    bins: Ints
    keys: Ragged
    counts: Ragged


@dataclass(frozen=True, slots=True)
class Histogram:
    """What a page holds of one tap's histogram.

    Attributes:
        keys: Keys over the whole run, increasing.
        counts: Exact number of elements of each key.
        low: First slot of `slots`.
        slots: Counts by slot and time bin.
        classes: Elements, zeros, infinities and NaN by time bin (not for ratios).
    """

    keys: Ints
    counts: Ints
    low: int
    slots: Ints
    classes: dict[str, Ints]


def entries_of(rows: Rows, name: str, count_name: str, timeline: Timeline) -> Entries:
    """Entries of the lists of a table."""
    bins = timeline.place(rows.first)
    return Entries(rows.tap, bins, rows.lists[name], rows.lists[count_name])


def rectified(entries: Entries, taps: Sequence[int]) -> Entries:
    """Entries of a = relu(z) for some taps z, exact: negative keys become zeros, NaN stays."""
    place = np.full(int(entries.tap.max(initial=0)) + 1, -1, np.int64)
    place[list(taps)] = np.arange(len(taps))
    chosen = np.flatnonzero(place[entries.tap] >= 0)
    keys = entries.keys.take(chosen)
    positive = np.where(keys.values & SIGN, 0, keys.values).astype(np.uint16)
    folded = Ragged(positive, keys.offsets, keys.present)
    tap = place[entries.tap[chosen]]
    return Entries(tap, entries.bins[chosen], folded, entries.counts.take(chosen))


def magnitudes(entries: Entries, n_taps: int, n_bins: int) -> list[Histogram]:
    """Histograms of the magnitudes of each tap by leading-bit key, signs folded.

    All taps are counted together: a long run has ten million entries, and a pass over them takes
    milliseconds while a loop over taps and chunks takes seconds.
    """
    parts = [_fold(entries, first, last) for first, last in _parts(entries.keys.offsets)]
    low, high = _spans(parts, n_taps)
    keys, counts = _by_key(parts, low, high)
    cells, first_slot = _by_slot(parts, low, high, n_bins)
    classes = _by_class(entries, parts, n_taps, n_bins)
    return [
        _whole(
            keys[i], counts[i], int(first_slot[i]), cells[i], {n: c[i] for n, c in classes.items()}
        )
        for i in range(n_taps)
    ]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows that have entries, with what is asked of each entry.

    Attributes:
        tap: Tap of each row.
        bins: Time bin of each row.
        starts: First entry of each row.
        lengths: Entries of each row.
        keys: Key of each entry, without its sign.
        counts: Its count.
        slots: Its half binade; `_NOWHERE` for zero and what is not finite.
    """

    tap: Ints
    bins: Ints
    starts: Ints
    lengths: Ints
    keys: npt.NDArray[np.uint16]
    counts: Ints
    slots: npt.NDArray[np.uint16]


def _fold(entries: Entries, first: int, last: int) -> _Part:
    """Rows first to last, without those that have no entries."""
    offsets = entries.keys.offsets
    start, stop = int(offsets[first]), int(offsets[last])
    keys = entries.keys.values[start:stop].astype(np.uint16) & np.uint16(MAGNITUDE)
    lengths = np.diff(offsets[first : last + 1])
    row = np.flatnonzero(lengths)
    return _Part(
        entries.tap[first:last][row],
        entries.bins[first:last][row],
        offsets[first:last][row] - start,
        lengths[row],
        keys,
        entries.counts.values[start:stop],
        _SLOT_OF_KEY[keys],
    )


def _whole(keys: Ints, counts: Ints, low: int, slots: Ints, classes: dict[str, Ints]) -> Histogram:
    """The histogram of one tap, with zeros before and what is not finite behind."""
    found = {key: int(classes[name].sum()) for name, key in _ODD.items()}
    below = [0] if found[0] else []
    above = [key for key in (INFINITY_KEY, NAN_KEY) if found[key]]
    return Histogram(
        np.concatenate([np.array(below, np.int64), keys, np.array(above, np.int64)]),
        np.concatenate([_of(found, below), counts, _of(found, above)]),
        low,
        slots,
        classes,
    )


def _of(totals: dict[int, int], keys: Sequence[int]) -> Ints:
    """Totals of some keys."""
    return np.array([totals[key] for key in keys], dtype=np.int64)


def _spans(parts: Sequence[_Part], n_taps: int) -> tuple[Ints, Ints]:
    """Lowest and highest usual key of each tap; 1 and 0 where it has none."""
    low, high = np.full(n_taps, _NOWHERE, np.int64), np.zeros(n_taps, np.int64)
    for part in parts:
        is_odd = part.slots == _NOWHERE
        least = np.where(is_odd, np.uint16(_NOWHERE), part.keys)
        np.minimum.at(low, part.tap, np.minimum.reduceat(least, part.starts).astype(np.int64))
        most = np.where(is_odd, np.uint16(0), part.keys)
        np.maximum.at(high, part.tap, np.maximum.reduceat(most, part.starts).astype(np.int64))
    return np.where(high > 0, low, 1), high


def _by_key(parts: Sequence[_Part], low: Ints, high: Ints) -> tuple[list[Ints], list[Ints]]:
    """Usual keys of each tap that occur at any time, and how often."""
    ends = np.cumsum(high - low + 1)
    base = ends - (high - low + 1) - low
    nowhere = int(ends[-1]) if len(ends) else 0
    totals = np.zeros(nowhere + 1, np.int64)
    for part in parts:
        place = np.repeat(base[part.tap], part.lengths)
        place += part.keys
        place[part.slots == _NOWHERE] = nowhere
        totals += exact_sums(place, part.counts, len(totals))
    used = np.flatnonzero(totals[:-1])
    borders = np.searchsorted(used, ends)[:-1]
    tap = np.searchsorted(ends, used, side="right")
    return np.split(used - base[tap], borders), np.split(totals[used], borders)


def _parts(offsets: Ints) -> Iterator[tuple[int, int]]:
    """Stretches of rows with about a million entries each, which stay in the cache."""
    edges = np.arange(0, int(offsets[-1]) + _KEYS_AT_ONCE, _KEYS_AT_ONCE)
    borders = np.unique(np.append(np.searchsorted(offsets[:-1], edges), len(offsets) - 1))
    return pairwise(np.append(0, borders[borders > 0]).tolist())


def _by_slot(parts: Sequence[_Part], low: Ints, high: Ints, n_bins: int) -> tuple[list[Ints], Ints]:
    """Counts of each tap by half binade and time bin, and its first half binade."""
    first = np.where(high > 0, half_binades(low), 0)
    widths = np.where(high > 0, half_binades(high) - first + 1, 0)
    begins = np.cumsum(widths) - widths
    places, sums = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in parts:
        row, slot, added = _add_neighbours(part)
        tap = part.tap[row]
        places.append((begins[tap] + slot - first[tap]) * n_bins + part.bins[row])
        sums.append(added)
    size = int(widths.sum()) * n_bins
    grid = exact_sums(np.concatenate(places), np.concatenate(sums), size)
    return np.split(grid.reshape(-1, n_bins), begins[1:]), first


def _add_neighbours(part: _Part) -> tuple[Ints, Ints, Ints]:
    """Row, slot and count of each stretch of entries of one row in one slot."""
    if not len(part.starts):
        return part.starts, part.starts, part.starts
    is_first = np.zeros(len(part.slots), np.bool_)
    is_first[part.starts] = True
    is_start = is_first.copy()
    is_start[1:] |= part.slots[1:] != part.slots[:-1]
    starts = np.flatnonzero(is_start)
    row = np.cumsum(is_first[starts]) - 1
    slot = part.slots[starts].astype(np.int64)
    sums = np.add.reduceat(part.counts, starts)
    known = slot != _NOWHERE
    return row[known], slot[known], sums[known]


def _by_class(
    entries: Entries, parts: Sequence[_Part], n_taps: int, n_bins: int
) -> dict[str, Ints]:
    """Elements, zeros, infinities and NaN of each tap by time bin."""
    size = n_taps * n_bins
    cell = entries.tap * n_bins + entries.bins
    found = {"n": exact_sums(cell, entries.counts.totals(), size)}
    found |= {name: np.zeros(size, np.int64) for name in _ODD}
    for part in parts:
        odd = np.flatnonzero(part.slots == _NOWHERE)
        row = np.searchsorted(part.starts, odd, side="right") - 1
        for name, key in _ODD.items():
            chosen = part.keys[odd] == key
            place = part.tap[row[chosen]] * n_bins + part.bins[row[chosen]]
            found[name] += exact_sums(place, part.counts[odd[chosen]], size)
    return {name: sums.reshape(n_taps, n_bins) for name, sums in found.items()}


def ratios(entries: Entries, n_taps: int, n_bins: int) -> list[Histogram]:
    """Histograms of whole numbers, one slot each: floor(log2|dw|) - floor(log2|w|)."""
    order = np.argsort(entries.tap, kind="stable")
    keys, counts = entries.keys.take(order), entries.counts.take(order)
    bins = np.repeat(entries.bins[order], keys.lengths)
    borders = keys.offsets[np.searchsorted(entries.tap[order], np.arange(n_taps + 1))].tolist()
    return [
        _of_numbers(keys.values[i:j].astype(np.int64), counts.values[i:j], bins[i:j], n_bins)
        for i, j in pairwise(borders)
    ]


def _of_numbers(keys: Ints, counts: Ints, bins: Ints, n_bins: int) -> Histogram:
    if keys.size == 0:
        return Histogram(keys, counts, 0, np.zeros((0, n_bins), dtype=np.int64), {})
    low, width = int(keys.min()), int(np.ptp(keys)) + 1
    grid = exact_sums((keys - low) * n_bins + bins, counts, width * n_bins).reshape(width, n_bins)
    totals = grid.sum(1)
    used = np.flatnonzero(totals)
    return Histogram(used + low, totals[used], low, grid, {})


def half_binades(keys: Ints) -> Ints:
    """Slot of a magnitude key: even slots hold exactly a power of two, odd ones the open binade.

    Nearly every threshold of a format is a power of two, so shares at any time bin stay exact on
    both sides of it, ties included.
    """
    exact = (keys & ((1 << KEYS_PER_BINADE_LOG2) - 1)) == 0
    return (keys >> KEYS_PER_BINADE_LOG2) * 2 + ~exact


def _slots_of_keys() -> npt.NDArray[np.uint16]:
    """Slot of every magnitude key; `_NOWHERE` for zero and what is not finite."""
    slots = half_binades(np.arange(MAGNITUDE + 1)).astype(np.uint16)
    slots[0] = _NOWHERE
    slots[INFINITY_KEY:] = _NOWHERE
    return slots


_SLOT_OF_KEY: Final = _slots_of_keys()


def exact_sums(where: Ints, weights: Ints, size: int) -> Ints:
    """Integer sums of weights by cell, exact below 2**53 a cell."""
    return np.bincount(where, weights=weights, minlength=size).astype(np.int64)


def extremes(column: Floats, cell: Ints, size: int, *, largest: bool) -> Floats:
    """Largest or smallest value by cell, nan where there is none."""
    known = np.flatnonzero(np.isfinite(column))
    order = known[np.argsort(cell[known], kind="stable")]
    found, start = np.unique(cell[order], return_index=True)
    out = np.full(size, np.nan)
    if found.size:
        reduce = np.maximum.reduceat if largest else np.minimum.reduceat
        out[found] = reduce(column[order], start)
    return out


def stacked(parts: Iterable[Ints]) -> Ints:
    """Arrays one after the other, flat; empty when there is none."""
    return np.concatenate([np.zeros(0, np.int64), *(part.reshape(-1) for part in parts)])
