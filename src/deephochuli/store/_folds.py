"""What is kept of a run in place of its rows: sums, to which every chunk is added once.

A long run has millions of rows, and what people ask of all of them are sums, extremes and first
times. A fold holds those. It is given one chunk after the other, in the order of the steps, so that
it holds the same whether a run was followed while it grew or read at once; only the rows of a few
chunks are in memory at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._chunks import ChunkReader, TapIndex


@dataclass(frozen=True, slots=True, eq=False)
class ChunkRows:
    """Rows of a table of one chunk; those of one tap come in the order of their steps.

    Attributes:
        chunk: Number of the chunk.
        tap: Index of the tap of each row in ``RunReader.taps()``.
        columns: Columns by name: arrays, or `Ragged` for lists.
    """

    chunk: int
    tap: NDArray[np.int64]
    columns: Mapping[str, Any]


class Fold(Protocol):
    """What is kept of the rows of a table.

    Attributes:
        table: taps or rollup.
        columns: Which of its columns are asked for.
    """

    table: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    def __init__(self, n_taps: int) -> None:
        """Nothing yet, of so many taps."""
        ...

    def add(self, rows: ChunkRows) -> None:
        """Add one more chunk."""
        ...


T = TypeVar("T")
F = TypeVar("F", bound=Fold)


class Streamer(Protocol):
    """Asks chunks a question; a chunk that turns out to be damaged ends it with an error."""

    def __call__(self, read: Callable[[ChunkReader], T], chunks: list[ChunkReader]) -> Iterator[T]:
        """Answers of the chunks, in their order."""
        ...


@dataclass(slots=True, eq=False)
class Grown(Generic[T]):
    """A value that is made of chunks.

    Attributes:
        value: The value.
        chunks: The chunks.
    """

    value: T
    chunks: list[ChunkReader]

    def rest(self, chunks: Sequence[ChunkReader]) -> list[ChunkReader] | None:
        """Those of `chunks` that are not in it; None if it is made of others than the first."""
        n = len(self.chunks)
        is_start = n <= len(chunks) and all(
            a is b for a, b in zip(self.chunks, chunks, strict=False)
        )
        return list(chunks[n:]) if is_start else None


class Folds:
    """Folds of a run, brought up to date when they are asked for.

    A run that only got more chunks is read from there on. Where the chunks that count are others
    now, or a new tap has come, it is read anew: rows name taps by their place in the list.
    """

    def __init__(self) -> None:
        self._grown: dict[type[Fold], Grown[Fold]] = {}
        self._index: TapIndex = {}

    def of(
        self,
        kinds: Sequence[type[F]],
        chunks: Sequence[ChunkReader],
        index: TapIndex,
        stream: Streamer,
    ) -> list[F]:
        """Folds over all chunks; each chunk that is new to any of them is read once for all."""
        if index != self._index:
            self._grown, self._index = {}, index
        grown = [self._start(kind, chunks) for kind in kinds]
        try:
            self._add(grown, list(chunks), stream)
        except BaseException:
            self._grown = {}  # one of them may hold half of a chunk
            raise
        return [cast("F", each.value) for each in grown]

    def _start(self, kind: type[Fold], chunks: Sequence[ChunkReader]) -> Grown[Fold]:
        known = self._grown.get(kind)
        if known is None or known.rest(chunks) is None:
            self._grown[kind] = Grown(kind(len(self._index)), [])
        return self._grown[kind]

    def _add(
        self, grown: Sequence[Grown[Fold]], chunks: list[ChunkReader], stream: Streamer
    ) -> None:
        lacking: dict[int, list[Grown[Fold]]] = {}
        for each in grown:
            for chunk in chunks[len(each.chunks) :]:
                lacking.setdefault(chunk.number, []).append(each)
        new = [chunk for chunk in chunks if chunk.number in lacking]

        def read(chunk: ChunkReader) -> list[ChunkRows]:
            return _read(chunk, [each.value for each in lacking[chunk.number]], self._index)

        for chunk, parts in zip(new, stream(read, new), strict=True):
            for each, rows in zip(lacking[chunk.number], parts, strict=True):
                each.value.add(rows)
                each.chunks.append(chunk)


def _read(chunk: ChunkReader, folds: Sequence[Fold], index: TapIndex) -> list[ChunkRows]:
    """What some folds ask of a chunk; each of its files is opened once."""
    wanted: dict[str, set[str]] = {}
    for fold in folds:
        wanted.setdefault(fold.table, {"layer", "quantity"}).update(fold.columns)
    chunk.keep(wanted)
    try:
        taps = {table: chunk.tap_of_row(table, index) for table in wanted}
        return [
            ChunkRows(chunk.number, taps[fold.table], chunk.columns(fold.table, fold.columns))
            for fold in folds
        ]
    finally:
        chunk.forget()
