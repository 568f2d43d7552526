"""From the histograms of a run to the arrays of a page, merged over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from deephochuli.report._rows import Floats, Ints, Rows
from deephochuli.report._timeline import Timeline
from deephochuli.store import Ragged, half_binades

MAGNITUDE: Final = 0x7FFF
SIGN: Final = 0x8000
INFINITY_KEY: Final = 0x7FF0
_CLASSES: Final = {"zero": 0, "inf": 4094, "nan": 4095}  # slots, see half_binades
_ENTRIES_AT_ONCE: Final = 1 << 17


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


def whole_entries(keys: Ragged, counts: Ragged) -> Entries:
    """Entries of histograms of a whole run, a row for each tap."""
    tap = np.arange(len(keys))
    return Entries(tap, np.zeros_like(tap), keys, counts)


def magnitudes(whole: Entries, over_time: Entries, n_taps: int, n_bins: int) -> list[Histogram]:
    """Histograms of the magnitudes of each tap, signs folded.

    Args:
        whole: Histograms by leading-bit key over the whole run, a row for each tap.
        over_time: The same by half binade, in rows of any time.
        n_taps: Number of histograms.
        n_bins: Number of time bins.
    """
    keys, counts = _by_key(whole, n_taps)
    low, width = _spans(keys)
    slots = _by_slot(over_time, low, width, n_bins)
    classes = _by_class(over_time, n_taps, n_bins)
    return [
        Histogram(
            keys[i], counts[i], int(low[i]), slots[i], {name: c[i] for name, c in classes.items()}
        )
        for i in range(n_taps)
    ]


def _by_key(whole: Entries, n_taps: int) -> tuple[list[Ints], list[Ints]]:
    """Keys of each tap without their signs, increasing, and how often each occurs."""
    tap = np.repeat(whole.tap, whole.keys.lengths)
    place = tap * (MAGNITUDE + 1) + (whole.keys.values & MAGNITUDE)
    order = np.argsort(place, kind="stable")
    found, starts = np.unique(place[order], return_index=True)
    sums = np.add.reduceat(whole.counts.values[order], starts) if len(starts) else found
    tap, keys = np.divmod(found, MAGNITUDE + 1)
    borders = np.searchsorted(tap, np.arange(1, n_taps))
    return np.split(keys, borders)[:n_taps], np.split(sums, borders)[:n_taps]


def _spans(keys: Sequence[Ints]) -> tuple[Ints, Ints]:
    """First slot and number of slots of each tap, for what is neither zero nor infinite nor NaN."""
    usual = [key[(key > 0) & (key < INFINITY_KEY)] for key in keys]
    ends = np.array([half_binades(key[[0, -1]]) if len(key) else (0, -1) for key in usual])
    low, high = ends.reshape(-1, 2).astype(np.int64).T
    return low, high - low + 1


def _by_slot(entries: Entries, low: Ints, width: Ints, n_bins: int) -> list[Ints]:
    """Counts of each tap by slot and time bin."""
    begins = np.cumsum(width) - width
    grid = np.zeros(int(width.sum()) * n_bins, np.int64)
    for row, slot, count in _parts(entries):
        is_usual = (slot > 0) & (slot < _CLASSES["inf"])
        row, slot = row[is_usual], slot[is_usual]
        tap = entries.tap[row]
        place = (begins[tap] + slot - low[tap]) * n_bins + entries.bins[row]
        np.add.at(grid, place, count[is_usual])
    return np.split(grid.reshape(-1, n_bins), begins[1:])


def _by_class(entries: Entries, n_taps: int, n_bins: int) -> dict[str, Ints]:
    """Elements, zeros, infinities and NaN of each tap by time bin."""
    size = n_taps * n_bins
    cell = entries.tap * n_bins + entries.bins
    found = {"n": exact_sums(cell, entries.counts.totals(), size)}
    found |= {name: np.zeros(size, np.int64) for name in _CLASSES}
    for row, slot, count in _parts(entries):
        for name, number in _CLASSES.items():
            chosen = slot == number
            np.add.at(found[name], cell[row[chosen]], count[chosen])
    return {name: sums.reshape(n_taps, n_bins) for name, sums in found.items()}


def _parts(entries: Entries) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Row, slot and count of entries, some at a time, which stay in the cache."""
    offsets = entries.keys.offsets
    edges = np.arange(0, int(offsets[-1]) + _ENTRIES_AT_ONCE, _ENTRIES_AT_ONCE)
    borders = np.unique(np.append(np.searchsorted(offsets[:-1], edges), len(offsets) - 1))
    for first, last in pairwise(np.append(0, borders[borders > 0]).tolist()):
        rows = np.arange(first, last, dtype=np.int64)
        row = np.repeat(rows, entries.keys.lengths[first:last])
        at = slice(int(offsets[first]), int(offsets[last]))
        slot = (entries.keys.values[at] & MAGNITUDE).astype(np.int64)
        yield row, slot, entries.counts.values[at].astype(np.int64)


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


def stacked(parts: Iterable[npt.NDArray[np.integer[Any]]]) -> Ints:
    """Arrays one after the other, flat; empty when there is none."""
    flat = [np.zeros(0, np.int64), *(part.reshape(-1) for part in parts)]
    return np.concatenate(flat, dtype=np.int64)
