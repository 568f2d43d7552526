"""Sketches of whole runs: every tap merged over all recorded steps, read once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from deephochuli.kernels import largest, smallest
from deephochuli.sketch import Sketch
from deephochuli.store import Ragged, RunReader, TapInfo, Windows

Place = tuple[str, str]
Counts = NDArray[np.int64]
_NUMBERS = ("sum", "sum_sq", "min_abs", "max_abs")


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
    """The taps of a run, each made into a sketch when it is first asked for."""

    def __init__(self, run: RunReader) -> None:
        """Take what the run keeps of its rollups."""
        windows, taps = run.fold(Windows), run.taps()
        self.histograms, rows = windows.whole(), windows.rows()
        order = np.argsort(rows.tap, kind="stable")
        self._bounds = np.searchsorted(rows.tap[order], np.arange(len(taps) + 1))
        self._numbers = {name: rows.numbers[name][order] for name in _NUMBERS}
        self._index = {(tap.layer, tap.quantity): i for i, tap in enumerate(taps)}
        self._made: dict[Place, Whole] = {}

    def __contains__(self, place: Place) -> bool:
        """Whether the run has a tap."""
        return place in self._index

    def __getitem__(self, place: Place) -> Whole:
        """One tap, by (layer, quantity)."""
        if place not in self._made:
            self._made[place] = self._make(self._index[place])
        return self._made[place]

    def _make(self, tap: int) -> Whole:
        rows = slice(self._bounds[tap], self._bounds[tap + 1])
        numbers, found = self._numbers, self.histograms
        sketch = Sketch.from_counts(
            _list(found.key, tap),
            _list(found.count, tap),
            math.fsum(numbers["sum"][rows]),
            math.fsum(numbers["sum_sq"][rows]),
            smallest(numbers["min_abs"][rows].tolist()),
            largest(numbers["max_abs"][rows].tolist()),
        )
        return Whole(sketch, _list(found.ratio, tap), _list(found.ratio_count, tap))


_cache: WeakKeyDictionary[RunReader, Wholes] = WeakKeyDictionary()


def wholes(run: RunReader) -> Wholes:
    """The taps of a run merged over all recorded steps; made anew when the run has grown."""
    known = _cache.get(run)
    if known is None or known.histograms is not run.fold(Windows).whole():
        known = _cache[run] = Wholes(run)
    return known


def sketches(run: RunReader, taps: Iterable[TapInfo]) -> dict[Place, Sketch]:
    """Sketches of some taps over all recorded steps, by (layer, quantity)."""
    places = [(tap.layer, tap.quantity) for tap in taps]
    return {place: wholes(run)[place].sketch for place in places}


def _list(column: Ragged, tap: int) -> NDArray[Any]:
    """The list of a tap; empty where it has none."""
    found = column[tap]
    return column.values[:0] if found is None else found
