"""From the histograms of a run to the arrays of a page: merged over time, signs folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from deephochuli.report._rows import Floats, Ints, Rows
from deephochuli.report._timeline import Timeline
from deephochuli.store import Ragged

MAGNITUDE: Final = 0x7FFF
SIGN: Final = 0x8000
INFINITY_KEY: Final = 0x7FF0
NAN_KEY: Final = 0x7FF8
KEYS_PER_BINADE_LOG2: Final = 4


@dataclass(frozen=True, slots=True)
class Entries:
    """Histogram entries of many rows side by side: `count` elements of `key` in one tap and bin."""

    tap: Ints
    bin: Ints
    key: Ints
    count: Ints


@dataclass(frozen=True, slots=True)
class Sparse:
    """One sparse histogram a tap: entries of tap t are ``offsets[t]:offsets[t + 1]``."""

    offsets: Ints
    keys: Ints
    counts: Ints


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts by tap, slot and time bin; only the slots between the first and last that a tap uses.

    Attributes:
        low: First slot of each tap.
        width: Number of slots of each tap; 0 where it has no entry.
        counts: Flat: tap, then slot, then time bin fastest.
    """

    low: Ints
    width: Ints
    counts: Ints


def entries_of(rows: Rows, keys: Ragged, counts: Ragged, timeline: Timeline) -> Entries:
    """Spread the list columns of rows into entries."""
    lengths = keys.lengths
    return Entries(
        np.repeat(rows.tap, lengths),
        np.repeat(timeline.place(rows.first), lengths),
        keys.values,
        counts.values,
    )


def rectified(entries: Entries, tap_of: Ints) -> Entries:
    """Entries of a = relu(z), exact: negative keys become zeros, NaN stays.

    Args:
        entries: Entries of every tap.
        tap_of: For each tap the tap of its activation, -1 where it feeds no ReLU.
    """
    chosen = tap_of[entries.tap] >= 0
    keys = entries.key[chosen]
    return Entries(
        tap_of[entries.tap[chosen]],
        entries.bin[chosen],
        np.where(keys & SIGN, 0, keys),
        entries.count[chosen],
    )


def joined(first: Entries, second: Entries) -> Entries:
    """Entries of both."""
    return Entries(
        np.concatenate([first.tap, second.tap]),
        np.concatenate([first.bin, second.bin]),
        np.concatenate([first.key, second.key]),
        np.concatenate([first.count, second.count]),
    )


def folded(entries: Entries) -> Entries:
    """Entries by magnitude: the sign bit of every key is dropped."""
    return Entries(entries.tap, entries.bin, entries.key & MAGNITUDE, entries.count)


def merged_over_time(entries: Entries, n_taps: int, *, lowest: int = 0) -> Sparse:
    """One exact sparse histogram a tap over the whole run.

    Args:
        entries: Any entries.
        n_taps: Number of taps.
        lowest: A key that no entry falls below (negative for exponent differences).
    """
    used, place = np.unique(entries.key - lowest, return_inverse=True)
    total = exact_sums(entries.tap * used.size + place, entries.count, n_taps * used.size)
    grid = total.reshape(n_taps, used.size)
    taps, slots = np.nonzero(grid)
    per_tap = np.bincount(taps, minlength=n_taps)
    offsets = np.concatenate([[0], np.cumsum(per_tap)]).astype(np.int64)
    return Sparse(offsets, used[slots] + lowest, grid[taps, slots])


def exact_sums(where: Ints, weights: Ints, size: int) -> Ints:
    """Integer sums of weights by cell, exact below 2**53 a cell."""
    return np.bincount(where, weights=weights, minlength=size).astype(np.int64)


def half_binades(keys: Ints) -> Ints:
    """Slot of a magnitude key: even slots hold exactly a power of two, odd ones the open binade.

    Nearly every threshold of a format is a power of two, so shares at any time bin stay exact on
    both sides of it, ties included.
    """
    exact = (keys & ((1 << KEYS_PER_BINADE_LOG2) - 1)) == 0
    return (keys >> KEYS_PER_BINADE_LOG2) * 2 + ~exact


def finite_nonzero(entries: Entries) -> Entries:
    """Entries of magnitudes that are neither zero, infinite nor NaN."""
    good = (entries.key > 0) & (entries.key < INFINITY_KEY)
    return Entries(entries.tap[good], entries.bin[good], entries.key[good], entries.count[good])


def cells_of(entries: Entries, slots: Ints, n_taps: int, n_bins: int) -> Cells:
    """Counts by tap, slot and time bin."""
    low, width = _extents(entries.tap, slots, n_taps)
    start = np.concatenate([[0], np.cumsum(width * n_bins)]).astype(np.int64)
    where = start[entries.tap] + (slots - low[entries.tap]) * n_bins + entries.bin
    return Cells(low, width, exact_sums(where, entries.count, int(start[-1])))


def _extents(tap: Ints, slots: Ints, n_taps: int) -> tuple[Ints, Ints]:
    """First slot and number of slots of each tap."""
    low = np.full(n_taps, np.iinfo(np.int64).max)
    high = np.full(n_taps, np.iinfo(np.int64).min)
    np.minimum.at(low, tap, slots)
    np.maximum.at(high, tap, slots)
    empty = high < low
    return np.where(empty, 0, low), np.where(empty, 0, high - low + 1)


def class_counts(entries: Entries, n_taps: int, n_bins: int) -> dict[str, Ints]:
    """Elements, zeros, infinities and NaN by tap and time bin, from folded entries."""
    where = entries.tap * n_bins + entries.bin
    classes = {
        "n": np.ones(entries.key.size, dtype=bool),
        "zero": entries.key == 0,
        "inf": entries.key == INFINITY_KEY,
        "nan": entries.key == NAN_KEY,
    }
    return {
        name: exact_sums(where[chosen], entries.count[chosen], n_taps * n_bins)
        for name, chosen in classes.items()
    }


def extremes(column: Floats, cell: Ints, size: int, *, largest: bool) -> Floats:
    """Largest or smallest value by cell, nan where there is none."""
    out = np.full(size, -np.inf if largest else np.inf)
    known = np.isfinite(column)
    (np.maximum if largest else np.minimum).at(out, cell[known], column[known])
    return np.where(np.isfinite(out), out, np.nan)
