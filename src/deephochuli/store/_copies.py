"""Which rows of several ranks hold the same numbers, so that one of them is counted.

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
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deephochuli.store._manifest import RankOf
from deephochuli.store._ragged import Array, Frame
from deephochuli.store._taps import Taps

_WHOLE: Final = ("whole",)
_MOMENTS: Final = ("sum", "sum_sq", "min_abs", "max_abs")
_CHANNEL_LISTS: Final = ("positive", "zero", "nonfinite")
_CHANNEL_NUMBERS: Final = ("n_per_channel", "n_channels", "n_silent_channels")


class Copies:
    """Tells rows that count from copies of them."""

    def __init__(self, ranks: Sequence[RankOf], taps: Taps) -> None:
        """Judge rows of some ranks, by number; `taps` may grow meanwhile."""
        self._ranks = ranks
        self._taps = taps
        self._names: list[tuple[str, str]] = []
        self._is_parameter = np.empty(0, np.bool_)
        self._part = np.empty((0, len(ranks)), np.int64)
        self._parts: dict[Any, int] = {_WHOLE: 0}
        groups = [tuple(sorted({rank.rank, *rank.same_data})) for rank in ranks]
        self._group = [group if groups.count(group) > 1 else () for group in groups]

    def judge(self, rank: NDArray[np.int64], frame: Frame) -> tuple[NDArray[np.int64], Frame]:
        """Find the rows that count.

        Args:
            rank: Place of the rank of each row among the ranks; never falls.
            frame: The rows.

        Returns:
            Indices of the rows that count, and the frame without what does not add up over them:
            calls of parts that were passed together, and counts of channels that differ by rank.
        """
        self._learn()
        verdict = _Verdict.of(frame)
        is_parameter = self._is_parameter[frame.tap]
        self._judge_parameters(verdict, np.flatnonzero(is_parameter), rank, frame)
        if any(self._group):
            for layer in self._layers(np.flatnonzero(~is_parameter), rank, frame):
                _judge_layer(verdict, layer, frame)
        return np.flatnonzero(verdict.counts), verdict.applied_to(frame)

    def _learn(self) -> None:
        """Look at the taps that are new."""
        new = list(self._taps.index)[len(self._names) :]
        if not new:
            return
        parts = np.array([[self._number(rank, layer) for rank in self._ranks] for layer, _ in new])
        is_parameter = [is_of_a_parameter(quantity) for _, quantity in new]
        self._names += new
        self._part = np.concatenate([self._part, parts])
        self._is_parameter = np.append(self._is_parameter, is_parameter)

    def _number(self, rank: RankOf, layer: str) -> int:
        """A number for the part of a parameter that a rank holds."""
        part = tuple(rank.shards[layer]) if layer in rank.shards else _WHOLE
        return self._parts.setdefault(part, len(self._parts))

    def _judge_parameters(
        self, verdict: _Verdict, rows: NDArray[np.int64], rank: NDArray[np.int64], frame: Frame
    ) -> None:
        """Of equal parts of a parameter that several ranks hold, that of the lowest counts."""
        _, at_step = np.unique(frame.numbers["step_first"][rows], return_inverse=True)
        tensor = at_step * len(self._names) + frame.tap[rows]
        part = self._part[frame.tap[rows], rank[rows]]
        # The first of equal rows is that of the lowest rank: ranks come one after the other.
        _, first = np.unique(tensor * len(self._parts) + part, return_index=True)
        verdict.counts[rows] = False
        verdict.counts[rows[first]] = True
        kept = np.sort(first)
        _, whole = np.unique(tensor[kept], return_index=True)
        verdict.calls[rows[np.delete(kept, whole)]] = 0

    def _layers(
        self, rows: NDArray[np.int64], rank: NDArray[np.int64], frame: Frame
    ) -> Iterator[dict[int, list[int]]]:
        """The rows of each layer in each step, by rank, of ranks with the same data."""
        step: list[int] = frame.numbers["step_first"].tolist()
        found: dict[Any, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row in rows.tolist():
            group = self._group[rank[row]]
            if group:
                layer = self._names[frame.tap[row]][0]
                found[group, step[row], layer][int(rank[row])].append(row)
        yield from found.values()


@dataclass(frozen=True, slots=True, eq=False)
class _Verdict:
    """What is known of each row.

    Attributes:
        counts: It is no copy.
        calls: How often its place was passed: 0 for further parts of one tensor.
        has_channels: Its channels are those of the other rows.
    """

    counts: NDArray[np.bool_]
    calls: Array
    has_channels: NDArray[np.bool_]

    @classmethod
    def of(cls, frame: Frame) -> _Verdict:
        """Each row counts, until something else is found."""
        every = np.ones(len(frame), np.bool_)
        return cls(every, frame.numbers["calls"].copy(), every.copy())

    def applied_to(self, frame: Frame) -> Frame:
        """The frame with what was found."""
        numbers, lists = frame.numbers | {"calls": self.calls}, frame.lists
        if not self.has_channels.all():
            for name in _CHANNEL_NUMBERS:
                numbers[name] = np.where(self.has_channels, numbers[name], -1)
            without = {name: lists[name].without(~self.has_channels) for name in _CHANNEL_LISTS}
            lists = lists | without
        return Frame(frame.tap, numbers, lists)


def _judge_layer(verdict: _Verdict, by_rank: Mapping[int, list[int]], frame: Frame) -> None:
    """A layer that looks the same on two ranks is one tensor; otherwise each has a part of it.

    Channel 0 of a part is not channel 0 of the next, and all parts were passed together.
    """
    seen: dict[Any, list[int]] = {}
    for rows in by_rank.values():
        look = tuple(sorted((int(frame.tap[row]), *_look_of(frame, row)) for row in rows))
        if seen.setdefault(look, rows) is not rows:
            verdict.counts[rows] = False
    if len(seen) > 1:
        for number, rows in enumerate(seen.values()):
            verdict.has_channels[rows] = False
            if number:
                verdict.calls[rows] = 0


def _look_of(frame: Frame, row: int) -> tuple[object, ...]:
    """All that a row says of the numbers of its tensor; the same for the same numbers."""
    lists = [
        None if (values := frame.lists[name][row]) is None else values.tobytes()
        for name in ("key", "count", "ratio", "ratio_count")
    ]
    # As bytes, nan is itself.
    return (*lists, *(frame.numbers[name][row].tobytes() for name in _MOMENTS))


def is_of_a_parameter(quantity: str) -> bool:
    """Whether a quantity is of a parameter, and not of what flows through the model."""
    return quantity in {"w", "g", "dw"} or quantity.startswith("state:")
