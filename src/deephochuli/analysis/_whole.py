"""Sketches of whole runs: every tap merged over all recorded steps, read once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import largest, merge_counts, smallest
from deephochuli.sketch import Sketch
from deephochuli.store import Ragged, Rollups, RunReader, TapInfo

Place = tuple[str, str]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Whole:
    """One tap over all recorded steps.

    Attributes:
        sketch: All its values.
        ratios: floor(log2|dw|) - floor(log2|w|) of its updates; empty unless it is an update.
        ratio_counts: How often each occurs.
    """

    sketch: Sketch
    ratios: NDArray[np.int16]
    ratio_counts: NDArray[np.int64]


class Wholes:
    """The taps of a run, each merged when it is first asked for."""

    def __init__(self, run: RunReader) -> None:
        """Read the rollups of a run, once."""
        self._rollups = run.rollups()
        self._order = np.argsort(self._rollups.tap, kind="stable")
        taps = run.taps()
        self._bounds = np.searchsorted(self._rollups.tap[self._order], np.arange(len(taps) + 1))
        self._index = {(tap.layer, tap.quantity): i for i, tap in enumerate(taps)}
        self._merged: dict[Place, Whole] = {}

    def __contains__(self, place: Place) -> bool:
        """Whether the run has a tap."""
        return place in self._index

    def __getitem__(self, place: Place) -> Whole:
        """One tap, by (layer, quantity)."""
        if place not in self._merged:
            index = self._index[place]
            rows = self._order[self._bounds[index] : self._bounds[index + 1]].tolist()
            self._merged[place] = _merge(self._rollups, rows)
        return self._merged[place]


_cache: WeakKeyDictionary[RunReader, Wholes] = WeakKeyDictionary()


def wholes(run: RunReader) -> Wholes:
    """The taps of a run merged over all recorded steps; the run is read once."""
    if run not in _cache:
        _cache[run] = Wholes(run)
    return _cache[run]


def sketches(run: RunReader, taps: Iterable[TapInfo]) -> dict[Place, Sketch]:
    """Sketches of some taps over all recorded steps, by (layer, quantity)."""
    places = [(tap.layer, tap.quantity) for tap in taps]
    return {place: wholes(run)[place].sketch for place in places}


def _merge(rollups: Rollups, rows: list[int]) -> Whole:
    lists, numbers = rollups.lists, rollups.numbers
    keys, counts = _add(lists["key"], lists["count"], rows)
    ratios, ratio_counts = _add(lists["ratio"], lists["ratio_count"], rows)
    sketch = Sketch.from_counts(
        keys,
        counts,
        math.fsum(numbers["sum"][rows]),
        math.fsum(numbers["sum_sq"][rows]),
        smallest(numbers["min_abs"][rows].tolist()),
        largest(numbers["max_abs"][rows].tolist()),
    )
    return Whole(sketch, _signed(ratios), ratio_counts)


def _add(keys: Ragged, counts: Ragged, rows: list[int]) -> tuple[NDArray[np.uint16], Counts]:
    """Add the histograms of some rows; signed keys are shifted to unsigned ones of like order."""
    parts = [(keys[row], counts[row]) for row in rows]
    return merge_counts(
        [
            ((key.astype(np.int64) + _shift(key)).astype(np.uint16), count.astype(np.int64))
            for key, count in parts
            if key is not None and count is not None
        ]
        or [(np.zeros(0, np.uint16), np.zeros(0, np.int64))]
    )


def _shift(keys: NDArray[np.generic]) -> int:
    return 0x8000 if keys.dtype.kind == "i" else 0


def _signed(ratios: NDArray[np.uint16]) -> NDArray[np.int16]:
    return (ratios.astype(np.int64) - 0x8000).astype(np.int16)
