"""The records of several ranks become one: what all hold is counted once, the rest is added.

A row belongs to a rank, a step and a tap. Three kinds of rows are told apart:

- Parameters, their gradients, updates and optimizer states. A rank holds a part of each, which its
  manifest names; two ranks that hold the same part hold the same numbers, so that one is counted.
- Activations and their gradients of ranks that compute on different data are added.
- Those of ranks that compute on the same data (a tensor-parallel group) are parts of a tensor, or
  the whole tensor on each. Nothing at the tensor tells which, so what the ranks saw does: a layer
  that looks the same on two of them, in every quantity, is one tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.errors import StoreError
from deephochuli.store._chunks import ChunkReader
from deephochuli.store._manifest import RankOf
from deephochuli.store._merge import add_floats, merge_by_tap
from deephochuli.store._ragged import LIST_TYPES, Frame, Ragged, join_frames
from deephochuli.store._reader import RunReader
from deephochuli.store._resume import rows_before
from deephochuli.store._rows import StepRow
from deephochuli.store._taps import Taps

_WHOLE: Final = ("whole",)
_ALL: Final = 1 << 62
_MOMENTS: Final = ("sum", "sum_sq", "min_abs", "max_abs")

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
    for first, last in pairwise([-1, *_borders(sources, wanted)]):
        steps = wanted[(wanted > first) & (wanted <= last)]
        if not len(steps):
            continue
        parts = [cursor.rows(steps) for cursor in cursors]
        frames = [frame for _, frame in parts]
        ranks = [source.rank for source in sources]
        yield merge_steps(ranks, [rows for rows, _ in parts]), merge_frames(ranks, frames, taps)


def _borders(sources: Sequence[Source], wanted: NDArray[np.int64]) -> list[int]:
    """Last step of each block: wherever a chunk of a rank ends, so that few are in memory."""
    ends = {int(chunk.steps()["step"][-1]) for source in sources for chunk in source.reader.chunks}
    return sorted({*ends, int(wanted[-1])}) if len(wanted) else []


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
        return found, frame.take(np.flatnonzero(np.isin(of_row, steps)))

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


def merge_frames(ranks: Sequence[RankOf], frames: Sequence[Frame], taps: Taps) -> Frame:
    """Merge the rows that several ranks have of the same steps.

    Args:
        ranks: The ranks, by number.
        frames: Rows of each of them; taps as numbered by `taps`.
        taps: The taps.

    Returns:
        One row for each step and tap, sorted by them.
    """
    frame = join_frames(frames)
    if not len(frame):
        return frame
    rank = np.repeat(np.arange(len(frames)), [len(part) for part in frames])
    rows = _Judge(ranks, taps).rows_that_count(rank, frame)
    frame = frame.take(rows)
    place = np.unique(frame.numbers["step_first"], return_inverse=True)[1]
    n_taps = len(taps.order)
    merged = merge_by_tap(Frame(place * n_taps + frame.tap, frame.numbers, frame.lists))
    merged.numbers["n_steps"] = np.ones(len(merged), np.int64)
    return Frame(merged.tap % n_taps, merged.numbers, merged.lists)


class _Judge:
    """Says which rows hold numbers that no row of a lower rank holds."""

    def __init__(self, ranks: Sequence[RankOf], taps: Taps) -> None:
        self._ranks = ranks
        self._names = list(taps.index)
        self._is_parameter = np.array([is_of_a_parameter(name[1]) for name in self._names])
        groups = [tuple(sorted({rank.rank, *rank.same_data})) for rank in ranks]
        self._group = [group if groups.count(group) > 1 else () for group in groups]

    def rows_that_count(self, rank: NDArray[np.int64], frame: Frame) -> NDArray[np.int64]:
        """Indices of those rows; lists of channels that mean different channels are taken back."""
        step = frame.numbers["step_first"]
        counts = np.ones(len(frame), np.bool_)
        of_parameter = self._is_parameter[frame.tap]
        self._drop_copies(counts, np.flatnonzero(of_parameter), rank, frame)
        if any(self._group):
            for rows in self._layers(np.flatnonzero(~of_parameter), rank, step, frame.tap):
                self._judge_layer(counts, rows, frame)
        return np.flatnonzero(counts)

    def _drop_copies(
        self,
        counts: NDArray[np.bool_],
        rows: NDArray[np.int64],
        rank: NDArray[np.int64],
        frame: Frame,
    ) -> None:
        """Of parts of parameters that several ranks hold, only that of the lowest counts."""
        tap, step = frame.tap, frame.numbers["step_first"]
        parts: dict[Any, int] = {}
        number = np.array(
            [
                [parts.setdefault(part_of(of, name[0]), len(parts)) for of in self._ranks]
                for name in self._names
            ]
        )
        part = number[tap[rows], rank[rows]]
        # The first of equal rows is that of the lowest rank: ranks come one after the other.
        _, first = np.unique(np.stack([tap[rows], step[rows], part]), axis=1, return_index=True)
        counts[rows] = False
        counts[rows[first]] = True
        # Parts of one tensor were passed together.
        kept = rows[np.sort(first)]
        _, whole = np.unique(np.stack([tap[kept], step[kept]]), axis=1, return_index=True)
        frame.numbers["calls"][np.delete(kept, whole)] = 0

    def _layers(
        self,
        rows: NDArray[np.int64],
        rank: NDArray[np.int64],
        step: NDArray[np.int64],
        tap: NDArray[np.int64],
    ) -> Iterator[dict[int, list[int]]]:
        """The rows of each layer in each step, by rank, of ranks with the same data."""
        found: dict[Any, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row in rows.tolist():
            group = self._group[rank[row]]
            if group:
                layer = self._names[tap[row]][0]
                found[group, int(step[row]), layer][int(rank[row])].append(row)
        yield from found.values()

    def _judge_layer(
        self, counts: NDArray[np.bool_], by_rank: Mapping[int, list[int]], frame: Frame
    ) -> None:
        seen: dict[Any, list[int]] = {}
        for rows in by_rank.values():
            look = tuple(sorted((int(frame.tap[row]), *look_of(frame, row)) for row in rows))
            if seen.setdefault(look, rows) is not rows:
                counts[rows] = False
        if len(seen) > 1:
            for number, rows in enumerate(seen.values()):
                _forget_channels(frame, rows)
                if number:  # parts of one tensor were passed together
                    frame.numbers["calls"][rows] = 0


def is_of_a_parameter(quantity: str) -> bool:
    """Whether a quantity is of a parameter, and not of what flows through the model."""
    return quantity in {"w", "g", "dw"} or quantity.startswith("state:")


def part_of(rank: RankOf, layer: str) -> tuple[object, ...]:
    """Which part of a parameter a rank holds: the same for ranks that hold the same elements."""
    return tuple(rank.shards[layer]) if layer in rank.shards else _WHOLE


def look_of(frame: Frame, row: int) -> tuple[object, ...]:
    """All that a row says of the numbers of its tensor; the same for the same numbers."""
    lists = [
        None if (values := frame.lists[name][row]) is None else values.tobytes()
        for name in ("key", "count", "ratio", "ratio_count")
    ]
    # As bytes, nan is itself.
    return (*lists, *(frame.numbers[name][row].tobytes() for name in _MOMENTS))


def _forget_channels(frame: Frame, rows: Sequence[int]) -> None:
    """Take back counts per channel: channel 0 of one rank is not channel 0 of the next."""
    for name in ("positive", "zero", "nonfinite"):
        lists = frame.lists[name].rows()
        for row in rows:
            lists[row] = None
        frame.lists[name] = Ragged.of(lists, LIST_TYPES[name])
    for name in ("n_per_channel", "n_channels", "n_silent_channels"):
        frame.numbers[name][rows] = -1
