"""Columns of all rows of a run, read when they are asked for, and extended when the run grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._arrow import Values
from deephochuli.store._chunks import ChunkReader
from deephochuli.store._ragged import LIST_TYPES, Ragged
from deephochuli.store._schema import NUMPY_TYPES, SPAN_COLUMNS, STEP_COLUMNS, TAP_COLUMNS

_TYPES = {
    c.name: NUMPY_TYPES[c.kind]
    for c in (*TAP_COLUMNS, *SPAN_COLUMNS, *STEP_COLUMNS)
    if c.kind != "text"
}
_NONE = np.empty(0, np.int64)


class Asker(Protocol):
    """Asks chunks a question; a chunk that turns out to be damaged ends it with an error."""

    def __call__(self, read: Callable[[ChunkReader], Any], chunks: list[ChunkReader]) -> list[Any]:
        """Answers of the chunks."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What columns are asked of.

    Attributes:
        chunks: The chunks that count.
        index: Of each tap in the list of taps, by layer and quantity; rows name taps by it.
        ask: Asks some of the chunks.
    """

    chunks: list[ChunkReader]
    index: Mapping[tuple[str, str], int]
    ask: Asker


@dataclass(frozen=True, slots=True, eq=False)
class _Earlier:
    """Columns as they were before the run grew; they are taken out as they are extended."""

    scope: Scope
    values: dict[str, Any]

    def serves(self, scope: Scope, names: Iterable[str]) -> bool:
        """Whether the run has only got chunks at its end since, and these columns are known."""
        old, now = self.scope.chunks, scope.chunks[: len(self.scope.chunks)]
        is_start = len(old) == len(now) and all(map(_is_same, old, now))
        return is_start and self.values.keys() >= set(names) and self.scope.index == scope.index


@dataclass(slots=True, eq=False)
class Columns:
    """Columns of one table over all chunks.

    Attributes:
        table: Its name.
        read: Reads columns of all rows of a chunk.
        is_sorted: Rows are sorted by tap, those of a tap by step; otherwise they are in the order
            of the chunks, and ``chunk`` has the number of each row's chunk.
        values: What was read, by name; ``tap`` is the index of each row's tap.
    """

    table: str
    read: Callable[[ChunkReader, str, Sequence[str]], dict[str, Any]]
    is_sorted: bool = False
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    _scope: Scope | None = None
    _earlier: _Earlier | None = None
    _order: NDArray[np.int64] | None = None
    _n_new: int | None = None

    def set_aside(self) -> None:
        """Answer anew from now on: the run has changed. What was read is kept, to be extended."""
        if self.values and self._scope is not None:
            self._earlier = _Earlier(self._scope, self.values)
        self.values, self._order, self._n_new = {}, None, None

    def of(self, scope: Scope, names: Sequence[str]) -> dict[str, Any]:
        """Columns by name, with ``tap``, and ``chunk`` where rows are not sorted.

        Rows of earlier chunks that are sorted already, followed by those of later ones, give the
        same when they are sorted as rows that were all read at once.
        """
        missing = [name for name in names if name not in self.values]
        if missing or "tap" not in self.values:
            placed = () if "tap" in self.values else ("tap",)
            known, new = self._known(scope, (*placed, *missing))
            if self._n_new not in (None, len(new)):  # what is there has rows in another order
                self.values, self._earlier, self._order, self._n_new = {}, None, None, None
                return self.of(scope, names)
            self._scope, self._n_new = scope, len(new)
            if placed:
                self._place(scope, known, new)
            self._extend(scope, known, new, missing)
        return {name: self.values[name] for name in ("tap", *self._own, *names)}

    @property
    def _own(self) -> tuple[str, ...]:
        return () if self.is_sorted else ("chunk",)

    def _known(
        self, scope: Scope, names: Iterable[str]
    ) -> tuple[dict[str, Any], list[ChunkReader]]:
        """Columns that are known of the first chunks, and the chunks that are not in them."""
        if self._earlier is None or not self._earlier.serves(scope, names):
            return {}, scope.chunks
        return self._earlier.values, scope.chunks[len(self._earlier.scope.chunks) :]

    def _place(self, scope: Scope, known: dict[str, Any], new: list[ChunkReader]) -> None:
        """Find the tap of each row, and the order of rows or the chunk of each."""
        taps = scope.ask(lambda chunk: chunk.tap_of_row(self.table, scope.index), new)
        tap = np.concatenate([known.pop("tap", _NONE), *taps])
        if self.is_sorted:
            # Rows of a tap come in the order of steps: the sort must not change that. Integers of
            # 16 bits are sorted by radix, ten times as fast.
            narrow = tap.astype(np.uint16) if len(scope.index) <= 1 << 16 else tap
            self._order = np.argsort(narrow, kind="stable")
            tap = tap[self._order]
        else:
            numbers = np.array([chunk.number for chunk in new], np.int64)
            chunk = np.repeat(numbers, [len(each) for each in taps])
            self.values["chunk"] = np.concatenate([known.pop("chunk", _NONE), chunk])
        self.values["tap"] = tap

    def _extend(
        self, scope: Scope, known: dict[str, Any], new: list[ChunkReader], names: Sequence[str]
    ) -> None:
        """Read columns of the new chunks, and append them to what is known."""
        if not names:
            return
        parts = scope.ask(lambda chunk: self.read(chunk, self.table, names), new)
        for name in names:
            before = [{name: known.pop(name)}] if name in known else []
            column = join([*before, *parts], name)
            self.values[name] = column if self._order is None else column[self._order]


def read_columns(chunk: ChunkReader, table: str, names: Sequence[str]) -> dict[str, Any]:
    """Columns of all rows of a chunk."""
    return chunk.columns(table, names)


def read_rows(chunk: ChunkReader, table: str, names: Sequence[str]) -> dict[str, Any]:
    """Columns of all rows of a chunk at the finest resolution, lists included."""
    del table
    return chunk.rows(names)


def join(parts: Sequence[Mapping[str, Any]], name: str) -> Values:
    """Append one column of several parts."""
    if name == "has_loss":
        return np.concatenate([np.empty(0, np.bool_), *(part["has_loss"] for part in parts)])
    dtype = _TYPES[name]
    if name in LIST_TYPES:
        return Ragged.joined([part[name] for part in parts], dtype)
    return np.concatenate([np.empty(0, dtype), *(part[name] for part in parts)])


def _is_same(one: object, other: object) -> bool:
    return one is other
