"""What is kept of a run in place of its rows: sums, to which every chunk is added once.

A long run has millions of rows, and what people ask of all of them are sums, extremes and first
times. A fold holds those. It is given one chunk after the other, in the order of the steps, so that
it holds the same whether a run was followed while it grew or read at once; only the rows of a few
chunks are in memory at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._chunks import ChunkReader, Piece, TapIndex
from deephochuli.store._parquet import give_back


@dataclass(frozen=True, slots=True, eq=False)
class ChunkRows:
    """Rows of a table of a chunk, or some of them: those of one tap in the order of their steps.

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
        """Add rows, of steps after those that were added."""
        ...


T = TypeVar("T")
F = TypeVar("F", bound=Fold)


class Streamer(Protocol):
    """Reads pieces; a chunk that turns out to be damaged ends it with an error."""

    def __call__(self, read: Callable[[Piece], T], pieces: Iterable[Piece]) -> Iterator[T]:
        """What is read, in order."""
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
        for table in sorted({each.value.table for each in grown}):
            self._add_rows(table, [e for e in grown if e.value.table == table], chunks, stream)

    def _add_rows(
        self, table: str, grown: list[Grown[Fold]], chunks: list[ChunkReader], stream: Streamer
    ) -> None:
        begins = [len(each.chunks) for each in grown]
        names = {name for each in grown for name in each.value.columns}
        place = {chunk.number: i for i, chunk in enumerate(chunks)}

        def read(piece: Piece) -> ChunkRows:
            tap, columns = piece.chunk.read_piece(piece, names, self._index)
            return ChunkRows(piece.chunk.number, tap, columns)

        pieces = (piece for chunk in chunks[min(begins) :] for piece in chunk.pieces(table))
        for rows in stream(read, pieces):
            for each, begin in zip(grown, begins, strict=True):
                if place[rows.chunk] >= begin:
                    each.value.add(rows)
        for each in grown:
            each.chunks = chunks
        for chunk in chunks[min(begins) :]:
            chunk.forget()
        give_back()
