"""From the histograms of a run to the arrays of a page: one tap at a time, merged over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

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

Keys = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Entries:
    """Histogram entries of one tap: `counts` elements of `keys` in time bin `bins`."""

    keys: Ints
    counts: Ints
    bins: Ints


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


def entries_by_tap(
    rows: Rows, keys: Ragged, counts: Ragged, timeline: Timeline, n_taps: int
) -> Iterator[Entries]:
    """Entries of each tap in turn, without copying the tables more than once."""
    order = np.argsort(rows.tap, kind="stable")
    keys, counts = keys.take(order), counts.take(order)
    bins = np.repeat(timeline.place(rows.first[order]), keys.lengths)
    borders = keys.offsets[np.searchsorted(rows.tap[order], np.arange(n_taps + 1))]
    for start, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        yield Entries(
            keys.values[start:stop].astype(np.int64), counts.values[start:stop], bins[start:stop]
        )


def rectified(entries: Entries) -> Entries:
    """Entries of a = relu(z), exact: negative keys become zeros, NaN stays."""
    return Entries(np.where(entries.keys & SIGN, 0, entries.keys), entries.counts, entries.bins)


def magnitudes(entries: Entries, n_bins: int) -> Histogram:
    """Histogram of the magnitudes of one tap by leading-bit key, signs folded."""
    keys = entries.keys & MAGNITUDE
    classes = {
        name: exact_sums(entries.bins[chosen], entries.counts[chosen], n_bins)
        for name, chosen in (
            ("n", slice(None)),
            ("zero", keys == 0),
            ("inf", keys == INFINITY_KEY),
            ("nan", keys == NAN_KEY),
        )
    }
    usual = (keys > 0) & (keys < INFINITY_KEY)
    grid, low = _dense(keys[usual], entries.counts[usual], entries.bins[usual], n_bins)
    whole_keys, whole_counts = _whole(grid, low)
    first_slot, slots = _by_slot(grid, low)
    special = {0: "zero", INFINITY_KEY: "inf", NAN_KEY: "nan"}
    totals = {key: int(classes[name].sum()) for key, name in special.items()}
    above = [key for key in (INFINITY_KEY, NAN_KEY) if totals[key]]
    below = [0] if totals[0] else []
    return Histogram(
        np.concatenate([np.array(below, np.int64), whole_keys, np.array(above, np.int64)]),
        np.concatenate(
            [_of(totals, below), whole_counts, _of(totals, above)],
        ),
        first_slot,
        slots,
        classes,
    )


def ratios(entries: Entries, n_bins: int) -> Histogram:
    """Histogram of whole numbers, one slot each: floor(log2|dw|) - floor(log2|w|)."""
    grid, low = _dense(entries.keys, entries.counts, entries.bins, n_bins)
    keys, counts = _whole(grid, low)
    return Histogram(keys, counts, low, grid, {})


def _of(totals: dict[int, int], keys: Sequence[int]) -> Ints:
    """Totals of some keys."""
    return np.array([totals[key] for key in keys], dtype=np.int64)


def _dense(keys: Ints, counts: Ints, bins: Ints, n_bins: int) -> tuple[Ints, int]:
    """Counts by key and time bin, from the lowest key to the highest."""
    if keys.size == 0:
        return np.zeros((0, n_bins), dtype=np.int64), 0
    low, width = int(keys.min()), int(np.ptp(keys)) + 1
    sums = exact_sums((keys - low) * n_bins + bins, counts, width * n_bins)
    return sums.reshape(width, n_bins), low


def _whole(grid: Ints, low: int) -> tuple[Ints, Ints]:
    """Keys that occur at any time, and how often."""
    totals = grid.sum(1)
    used = np.flatnonzero(totals)
    return used + low, totals[used]


def _by_slot(grid: Ints, low: int) -> tuple[int, Ints]:
    """First slot, and counts by half binade and time bin."""
    if grid.shape[0] == 0:
        return 0, grid
    keys: Ints = np.arange(low, low + int(grid.shape[0]), dtype=np.int64)
    slots = half_binades(keys)
    starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
    return int(slots[0]), np.add.reduceat(grid, starts, axis=0)


def half_binades(keys: Ints) -> Ints:
    """Slot of a magnitude key: even slots hold exactly a power of two, odd ones the open binade.

    Nearly every threshold of a format is a power of two, so shares at any time bin stay exact on
    both sides of it, ties included.
    """
    exact = (keys & ((1 << KEYS_PER_BINADE_LOG2) - 1)) == 0
    return (keys >> KEYS_PER_BINADE_LOG2) * 2 + ~exact


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
