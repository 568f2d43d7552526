"""The records of several ranks become one: what all hold is counted once, the rest is added.

Chunk by chunk: `Copies` says which rows count, and those of one step and tap are merged. Most rows
are alone there, such as those of parameters that are whole on every rank: they pass unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._chunks import ChunkReader
from deephochuli.store._copies import Copies
from deephochuli.store._manifest import RankOf
from deephochuli.store._merge import add_floats, merge_by_tap
from deephochuli.store._ragged import Frame, join_frames
from deephochuli.store._reader import RunReader
from deephochuli.store._resume import rows_before
from deephochuli.store._rows import StepRow
from deephochuli.store._taps import Taps

_ALL: Final = 1 << 62

Rows = tuple[list[StepRow], Frame]


@dataclass(frozen=True, slots=True)
class Source:
    """The run of one rank.

    Attributes:
        rank: Which rank, and what it holds.
        reader: Its run.
    """

    rank: RankOf
    reader: RunReader


class DamagedChunkError(StoreError):
    """A chunk of a rank turned out to be damaged, and is left out from now on."""


def merged_rows(sources: Sequence[Source], wanted: NDArray[np.int64], taps: Taps) -> Iterator[Rows]:
    """Merge the records of several ranks, some steps at a time.

    Args:
        sources: The ranks, by number.
        wanted: Steps, increasing, that each of them has recorded.
        taps: Numbers the taps; learns those that are new.

    Yields:
        Steps and their rows, in the order of the steps.

    Raises:
        DamagedChunkError: A chunk is damaged; its reader leaves it out from now on.

    Numerics:
        Counts are added in int64 and are exact; sums of floats are correctly rounded sums
        (math.fsum) of what the ranks summed.
    """
    cursors = [_Cursor(source, taps) for source in sources]
    ranks = [source.rank for source in sources]
    copies = Copies(ranks, taps)
    for first, last in pairwise([-1, *_borders(sources, wanted)]):
        steps = wanted[(wanted > first) & (wanted <= last)]
        if not len(steps):
            continue
        rows, frames = zip(*(cursor.rows(steps) for cursor in cursors), strict=True)
        yield merge_steps(ranks, rows), merge_frames(copies, frames)


def _borders(sources: Sequence[Source], wanted: NDArray[np.int64]) -> list[int]:
    """Last step of each block: where a chunk of the first rank ends, so that few are in memory."""
    if not len(wanted):
        return []
    ends = [_last_step(chunk) for chunk in sources[0].reader.chunks]
    return sorted({*ends, int(wanted[-1])})


def _last_step(chunk: ChunkReader) -> int:
    return chunk.seal.step_last if chunk.seal else int(chunk.steps()["step"][-1])


class _Cursor:
    """Reads the chunks of one rank, one after the other."""

    def __init__(self, source: Source, taps: Taps) -> None:
        self._reader = source.reader
        self._waiting = source.reader.chunks
        self._taps = taps
        self._steps: list[StepRow] = []
        self._frame: Frame | None = None

    def rows(self, steps: NDArray[np.int64]) -> Rows:
        """The rows of some steps, which come after those of the call before."""
        frames: list[Frame] = [] if self._frame is None else [self._frame]
        while self._waiting and (not self._steps or self._steps[-1].step < steps[-1]):
            more, frame = self._read(self._waiting.pop(0))
            self._steps += more
            frames.append(frame)
        frame = join_frames(frames)
        of_row = frame.numbers["step_first"]
        chosen = set(steps.tolist())
        found = [row for row in self._steps if row.step in chosen]
        self._steps = [row for row in self._steps if row.step > steps[-1]]
        self._frame = frame.take(np.flatnonzero(of_row > steps[-1]))
        return found, frame.where(np.isin(of_row, steps))

    def _read(self, chunk: ChunkReader) -> Rows:
        try:
            return rows_before(chunk, _ALL, self._taps)
        except StoreError as error:
            self._reader.leave_out(chunk.number, error)
            raise DamagedChunkError(str(error)) from error


def merge_steps(ranks: Sequence[RankOf], parts: Sequence[Sequence[StepRow]]) -> list[StepRow]:
    """One row for each step, from those of all ranks.

    Backward passes are those on different data; the loss is the mean over the ranks that told one.
    """
    counts = [is_first_of_its_data(rank, ranks) for rank in ranks]
    return [_merge_step(rows, counts) for rows in zip(*parts, strict=True)]


def is_first_of_its_data(rank: RankOf, ranks: Sequence[RankOf]) -> bool:
    """Whether no lower rank computes on the same data."""
    present = {other.rank for other in ranks}
    return rank.rank == min({rank.rank, *rank.same_data} & present)


def _merge_step(rows: Sequence[StepRow], counts: Sequence[bool]) -> StepRow:
    losses = [row.loss for row in rows if row.loss is not None]
    passes = [
        row.n_micro_batches for row, is_counted in zip(rows, counts, strict=True) if is_counted
    ]
    return StepRow(
        step=rows[0].step,
        wall_s=max(row.wall_s for row in rows),
        loss=add_floats(losses) / len(losses) if losses else None,
        loss_scale=rows[0].loss_scale,
        skipped=any(row.skipped for row in rows),
        lr=rows[0].lr,
        n_micro_batches=sum(passes),
    )


def merge_frames(copies: Copies, frames: Sequence[Frame]) -> Frame:
    """Merge the rows that several ranks have of the same steps.

    Args:
        copies: Knows which rows are copies.
        frames: Rows of each of the ranks, by number.

    Returns:
        One row for each step and tap.
    """
    frame = join_frames(frames)
    if not len(frame):
        return frame
    rank = np.repeat(np.arange(len(frames)), [len(part) for part in frames])
    rows, frame = copies.judge(rank, frame)
    steps, at_step = np.unique(frame.numbers["step_first"], return_inverse=True)
    place = frame.tap * len(steps) + at_step
    rows = rows[np.argsort(place[rows], kind="stable")]
    changes = place[rows[1:]] != place[rows[:-1]]
    is_alone = np.append(True, changes) & np.append(changes, True)
    alone, several = frame.take(rows[is_alone]), frame.take(rows[~is_alone])
    merged = merge_by_tap(Frame(place[rows[~is_alone]], several.numbers, several.lists))
    numbers = merged.numbers | {"n_steps": np.ones(len(merged), np.int64)}
    return join_frames([alone, Frame(merged.tap // len(steps), numbers, merged.lists)])
