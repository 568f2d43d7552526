"""The rollups of a run, without the histograms by key of each: those are kept over the whole run.

A chunk has a window of steps. Over time people ask for shares on either side of a threshold, for
which half binades are enough, and those take a tenth of the room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._answers import Rollups
from deephochuli.store._folds import ChunkRows
from deephochuli.store._merge import add_histograms
from deephochuli.store._ragged import LIST_TYPES, Ragged
from deephochuli.store._slots import by_half_binade

_SPAN: Final = ("step_first", "step_last", "n_steps")
_COUNTS: Final = ("n_per_channel", "n_subnormal", "n_updatable", "n_unmoved")
_FLOATS: Final = ("sum", "sum_sq", "min_abs", "max_abs")
_HISTOGRAMS: Final = ("key", "count", "ratio", "ratio_count")
_KEPT_LISTS: Final = ("positive", "ratio", "ratio_count")
_SLOT_LISTS: Final = ("slot", "slot_count")
_TYPES: Final = {**LIST_TYPES, "slot": np.uint16, "slot_count": np.uint32}
_CHUNKS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Histograms of every tap over a whole run, a row for each tap; exact.

    Attributes:
        key: Leading-bit keys, increasing.
        count: Their counts.
        ratio: floor(log2|dw|) - floor(log2|w|) of updates, increasing.
        ratio_count: Their counts.
    """

    key: Ragged
    count: Ragged
    ratio: Ragged
    ratio_count: Ragged


class Windows:
    """Rows of taps in chunks, and the histograms of taps over all of them."""

    table: ClassVar[str] = "rollup"
    columns: ClassVar[tuple[str, ...]] = (
        *(*_SPAN, *_COUNTS, *_FLOATS),
        *("key", "count", *_KEPT_LISTS),
    )

    def __init__(self, n_taps: int) -> None:
        """Nothing yet."""
        self._n_taps = n_taps
        self._parts = [_no_rows()]
        self._whole = Histograms(**{name: _none(name, n_taps) for name in _HISTOGRAMS})
        self._waiting: list[ChunkRows] = []
        self._rows: Rollups | None = None

    def add(self, rows: ChunkRows) -> None:
        """Add a chunk."""
        columns, self._rows = rows.columns, None
        slot, slot_count = by_half_binade(columns["key"], columns["count"])
        self._parts.append(
            {
                "tap": rows.tap,
                "chunk": np.full(len(rows.tap), rows.chunk),
                **{name: columns[name] for name in (*_SPAN, *_COUNTS, *_FLOATS, *_KEPT_LISTS)},
                "slot": slot,
                "slot_count": _narrow(slot_count),
            }
        )
        self._waiting.append(rows)
        if len(self._waiting) >= _CHUNKS_AT_ONCE:
            self._merge()

    def rows(self) -> Rollups:
        """Rows of all chunks, with the lists positive, ratio, ratio_count, slot and slot_count.

        The same object until a chunk is added.
        """
        if self._rows is None:
            # Column by column, letting go of each, so that few are there twice.
            names = list(self._parts[0])
            columns = {name: _joined([p.pop(name) for p in self._parts]) for name in names}
            self._parts = [columns]
            self._rows = Rollups(
                **{name: columns[name] for name in ("tap", "chunk", *_SPAN)},
                numbers={name: columns[name] for name in (*_COUNTS, *_FLOATS)},
                lists={name: columns[name] for name in (*_KEPT_LISTS, *_SLOT_LISTS)},
            )
        return self._rows

    def whole(self) -> Histograms:
        """Histograms of all taps over all chunks."""
        self._merge()
        return self._whole

    def _merge(self) -> None:
        """Add the histograms of the chunks that wait."""
        if self._waiting and self._n_taps:
            tap = np.concatenate([np.arange(self._n_taps), *(rows.tap for rows in self._waiting)])
            order = np.argsort(tap, kind="stable")
            bounds = np.searchsorted(tap[order], np.arange(self._n_taps + 1))
            merged: dict[str, Ragged] = {}
            for name, count_name in (("key", "count"), ("ratio", "ratio_count")):
                keys, counts = (self._with_waiting(each, order) for each in (name, count_name))
                merged[name], merged[count_name] = add_histograms(keys, counts, bounds)
            self._whole = Histograms(**merged)
        self._waiting.clear()

    def _with_waiting(self, name: str, order: NDArray[np.int64]) -> Ragged:
        """A column of lists: what is merged, and what waits, in some order."""
        parts = [getattr(self._whole, name), *(rows.columns[name] for rows in self._waiting)]
        return _joined(parts).take(order)


def _narrow(counts: Ragged) -> Ragged:
    """Counts in half the room, where they fit in."""
    if counts.values.max(initial=0) > np.iinfo(np.uint32).max:
        return counts
    return Ragged(counts.values.astype(np.uint32), counts.offsets, counts.present)


def _none(name: str, n_rows: int) -> Ragged:
    """Rows without a list."""
    return Ragged.of([None] * n_rows, _TYPES[name])


def _no_rows() -> dict[str, Any]:
    whole = {name: np.empty(0, np.int64) for name in ("tap", "chunk", *_SPAN, *_COUNTS)}
    floats = {name: np.empty(0) for name in _FLOATS}
    lists = {name: _none(name, 0) for name in (*_KEPT_LISTS, *_SLOT_LISTS)}
    return {**whole, **floats, **lists}


def _joined(parts: Sequence[Any]) -> Any:
    """One column of several parts."""
    if isinstance(parts[0], Ragged):
        return Ragged.joined(parts, parts[0].values.dtype.type)
    return np.concatenate(parts)
