"""The CUDA back end: rows on the device, launches without waiting, one read at the end of a step.

``Rows.add`` launches and returns: once the row of a tensor is there, it allocates nothing, copies
nothing from the host and waits for nothing. All tensors of a ``summarise`` call are counted by one
launch for each element type. Results come back in one copy on a stream of their own.

binary64 tensors, rare on a GPU, are left to the torch reference.

Numerics:
    Counts and extremes are exact and do not depend on the order of the programs. Sums are
    accumulated in binary64 by atomic additions, so their last bits can differ between two runs.
"""

# Triton's kernels carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels._contract import (
    ChannelCounts,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._counter import Channels, Counter, Tables
from deephochuli.kernels._device_rows import (
    EXTRA_WORDS,
    KINDS,
    ROW_WORDS,
    summary_of,
    update_summary_of,
)
from deephochuli.kernels._layout import (
    FLOAT8_TYPES,
    channel_map,
    dense,
    table_of,
    update_tensors,
)
from deephochuli.kernels._merge import EagerRows, merge_summaries
from deephochuli.kernels._reference import ReferenceBackend, summarise_update
from deephochuli.kernels._streams import is_capturing

_FIRST_ROWS = 64


@functools.cache
def _table_on(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """What the codes of an eight-bit type widen to; any tensor for the other types."""
    if dtype not in FLOAT8_TYPES:
        return torch.zeros(1, dtype=torch.int64, device=device)
    return torch.from_numpy(table_of(dtype).view(np.int32)).to(device)


def _parts_of(sizes: Sequence[int], part: int) -> NDArray[np.int64]:
    """Job and start of each part of some tensors."""
    pairs = [(job, start) for job, n in enumerate(sizes) for start in range(0, n, part)]
    return np.array(pairs, np.int64).reshape(-1, 2)


@dataclass(slots=True)
class _ChannelRow:
    """Counters of one row's channels on the device, and how many elements a channel has by now."""

    counts: torch.Tensor
    n_channels: int
    n_per_channel: int = 0


@dataclass(slots=True)
class _RowState:
    """What is known on the host about a row that was added to."""

    channels: _ChannelRow | None = None
    is_without_channels: bool = False
    others: list[Summary] = field(default_factory=list[Summary])
    is_counted: bool = False


class CudaRows:
    """Rows that live on a device and grow by doubling when a new row is first used."""

    def __init__(self, device: torch.device, counter: Counter) -> None:
        """Make an empty set of rows on `device`."""
        self._device, self._counter = device, counter
        self._words = torch.zeros(_FIRST_ROWS * ROW_WORDS, dtype=torch.int64, device=device)
        self._places: dict[int, int] = {}
        self._channels: dict[tuple[int, int], _ChannelRow] = {}
        self._used: dict[int, _RowState] = {}
        self._streams: set[torch.cuda.Stream] = set()
        self._informed: set[torch.cuda.Stream] = set()
        self._ready: torch.cuda.Event | None = None
        self._reference = ReferenceBackend()
        self._say_ready()

    def add(self, row: int, job: TensorJob) -> None:
        """Launch the counting of one more tensor into a row."""
        tensor = dense(job.tensor, job.channel_dim)
        state = self._used.setdefault(row, _RowState())
        if tensor.dtype not in KINDS:
            state.others.extend(self._reference.summarise([job]))
            return
        place = self._place(row)
        state.is_counted = True
        channels = self._channels_of(row, state, tensor, job.channel_dim)
        self._inform_stream()
        if self._device.type == "cuda":
            self._streams.add(torch.cuda.current_stream(self._device))
        if tensor.numel():
            kind, table = KINDS[tensor.dtype], _table_on(tensor.dtype, tensor.device)
            self._counter.count(self._words, place, tensor, kind, table, channels)

    def _place(self, row: int) -> int:
        """Where a row lies; room is made for it on first use."""
        place = self._places.setdefault(row, len(self._places))
        if (place + 1) * ROW_WORDS > len(self._words):
            self._inform_stream()
            self._wait_for_launches()
            longer = torch.zeros(2 * len(self._words), dtype=torch.int64, device=self._device)
            longer[: len(self._words)] = self._words
            self._words = longer
            self._say_ready()
        return place

    def _say_ready(self) -> None:
        """Note that counters were made, or emptied, on the current stream; others do not know."""
        if self._device.type == "cuda" and not is_capturing(self._device):
            stream = torch.cuda.current_stream(self._device)
            self._ready = torch.cuda.Event()
            self._ready.record(stream)
            self._informed = {stream}

    def _inform_stream(self) -> None:
        """Have the current stream wait until the counters are there; the host does not wait.

        A graph that is being captured may wait for nothing outside of it, and need not.
        """
        if self._device.type != "cuda":
            return
        stream = torch.cuda.current_stream(self._device)
        if stream in self._informed or is_capturing(self._device):
            return
        self._informed.add(stream)
        if self._ready is not None:
            stream.wait_event(self._ready)
        for counters in (self._words, *(each.counts for each in self._channels.values())):
            counters.record_stream(stream)  # not used anew before this stream has done with it

    def _wait_for_launches(self) -> None:
        """Have the current stream wait for every stream that was launched on; not the host."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)
        self._streams.clear()

    def _channels_of(
        self, row: int, state: _RowState, tensor: torch.Tensor, dim: int | None
    ) -> Channels | None:
        """Where channels are counted, as long as all tensors of a row have the same ones."""
        if dim is None or state.is_without_channels:
            state.is_without_channels = True
            return None
        n_channels = tensor.shape[dim]
        if state.channels is not None and state.channels.n_channels != n_channels:
            state.is_without_channels = True
            return None
        if state.channels is None:
            state.channels = self._channel_row(row, n_channels)
        if not tensor.numel():
            return None
        state.channels.n_per_channel += tensor.numel() // n_channels
        return Channels(state.channels.counts, n_channels, channel_map(tensor, dim).inner)

    def _channel_row(self, row: int, n_channels: int) -> _ChannelRow:
        found = self._channels.get((row, n_channels))
        if found is None:
            self._inform_stream()
            counts = torch.zeros(3 * n_channels, dtype=torch.int64, device=self._device)
            found = self._channels[row, n_channels] = _ChannelRow(counts, n_channels)
            self._say_ready()
        return found

    def read(self) -> dict[int, Summary]:
        """Wait for the work, return the rows that were added to, and empty all rows."""
        used, self._used = self._used, {}
        self._inform_stream()
        self._wait_for_launches()
        counters = [state.channels.counts for state in used.values() if state.channels]
        words, *counts = _fetch([self._words[: len(self._places) * ROW_WORDS], *counters])
        rows = words.reshape(-1, ROW_WORDS)
        remaining = iter(counts)
        found = {
            row: self._summary(rows, row, state, next(remaining) if state.channels else None)
            for row, state in used.items()
        }
        self._empty([state.channels for state in used.values() if state.channels])
        return found

    def _empty(self, channels: Sequence[_ChannelRow]) -> None:
        self._words.zero_()
        for each in channels:
            each.counts.zero_()
            each.n_per_channel = 0
        self._say_ready()

    def _summary(
        self,
        rows: NDArray[np.int64],
        row: int,
        state: _RowState,
        counts: NDArray[np.int64] | None,
    ) -> Summary:
        if not state.is_counted:
            return merge_summaries(state.others)
        channels = None
        if counts is not None and state.channels and not state.is_without_channels:
            positive, zero, nonfinite = counts.reshape(3, -1)
            channels = ChannelCounts(state.channels.n_per_channel, positive, zero, nonfinite)
        return merge_summaries([summary_of(rows[self._places[row]], channels), *state.others])


def _fetch(tensors: Sequence[torch.Tensor]) -> list[NDArray[np.int64]]:
    """Copy tensors of one device to the host, waiting once."""
    device = tensors[0].device
    if device.type != "cuda":
        return [tensor.numpy().copy() for tensor in tensors]
    stream = _stream_of(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        copies = [
            torch.empty(len(t), dtype=t.dtype, device="cpu", pin_memory=True) for t in tensors
        ]
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
    stream.synchronize()
    return [copy.numpy().copy() for copy in copies]


@functools.cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """The stream on which results of a device are copied."""
    return torch.cuda.Stream(device)


class CudaBackend:
    """Summaries by compiled kernels; also on a CPU, where Triton interprets its own."""

    def __init__(self, device: torch.device, counter: Counter) -> None:
        """Count tensors that lie on `device`."""
        self._device, self._counter = device, counter
        self._reference = ReferenceBackend()
        self.name = counter.name

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        return CudaRows(self._device, self._counter)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one launch for each type, one result per job, in order."""
        found: dict[int, Summary] = {}
        with torch.no_grad():
            for dtype, places in _by_type([job.tensor.dtype for job in jobs]):
                group = [jobs[place] for place in places]
                if dtype not in KINDS or any(job.channel_dim is not None for job in group):
                    summaries = self._one_by_one(group)
                else:
                    summaries = self._together(dtype, [dense(job.tensor) for job in group])
                found.update(zip(places, summaries, strict=True))
        return [found[place] for place in range(len(jobs))]

    def _one_by_one(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        rows = EagerRows(self._reference.summarise)
        if all(job.tensor.dtype in KINDS for job in jobs):
            rows = CudaRows(self._device, self._counter)
        for row, job in enumerate(jobs):
            rows.add(row, job)
        summaries = rows.read()
        return [summaries[row] for row in range(len(jobs))]

    def _together(self, dtype: torch.dtype, tensors: Sequence[torch.Tensor]) -> list[Summary]:
        words = torch.zeros(len(tensors) * ROW_WORDS, dtype=torch.int64, device=self._device)
        jobs = [(t.data_ptr(), t.numel(), row) for row, t in enumerate(tensors)]
        sizes = [t.numel() for t in tensors]
        if any(sizes):
            self._counter.count_many(self._tables(words, jobs, sizes, dtype))
        (rows,) = _fetch([words])
        return [summary_of(row) for row in rows.reshape(-1, ROW_WORDS)]

    def _tables(
        self, rows: torch.Tensor, jobs: Sequence[Any], sizes: Sequence[int], dtype: torch.dtype
    ) -> Tables:
        parts = _parts_of(sizes, self._counter.part)
        places, starts = self._upload(np.array(jobs, np.int64)), self._upload(parts)
        table = _table_on(dtype, self._device)
        return Tables(rows, places, starts, len(parts), table, KINDS[dtype])

    def _upload(self, table: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(table.reshape(-1)).to(self._device)

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one launch for each type, one result per job, in order."""
        with torch.no_grad():
            tensors = [_alike(job) for job in jobs]
            found: dict[int, UpdateSummary] = {
                place: summarise_update(job)
                for place, job in enumerate(jobs)
                if tensors[place] is None
            }
            kinds = [(t[0].dtype, len(t) == 3) if t else None for t in tensors]
            for kind, places in _by_type(kinds):
                if kind is not None:
                    group = [tensors[place] or [] for place in places]
                    found.update(zip(places, self._updates(kind, group), strict=True))
        return [found[place] for place in range(len(jobs))]

    def _updates(
        self, kind: tuple[torch.dtype, bool], group: Sequence[Sequence[torch.Tensor]]
    ) -> Iterator[UpdateSummary]:
        dtype, has_gradient = kind
        words = torch.zeros(3 * len(group) * ROW_WORDS, dtype=torch.int64, device=self._device)
        extras = torch.zeros(len(group) * EXTRA_WORDS, dtype=torch.int64, device=self._device)
        jobs = [
            (*[t.data_ptr() for t in (*tensors, tensors[0])[:3]], tensors[0].numel(), 3 * i, i)
            for i, tensors in enumerate(group)
        ]
        sizes = [tensors[0].numel() for tensors in group]
        if any(sizes):
            tables = self._tables(words, jobs, sizes, dtype)
            self._counter.count_updates(tables, extras, has_gradient=has_gradient)
        rows, beside = _fetch([words, extras])
        for three, extra in zip(
            rows.reshape(-1, 3, ROW_WORDS), beside.reshape(-1, EXTRA_WORDS), strict=True
        ):
            yield update_summary_of(three, extra, has_gradient=has_gradient)


def _alike(job: UpdateJob) -> list[torch.Tensor] | None:
    """After, before and gradient in one memory order; None where they are left to the reference."""
    tensors = update_tensors(job)
    first = tensors[0]
    if first.dtype not in KINDS or any(tensor.dtype != first.dtype for tensor in tensors):
        return None
    if any(tensor.stride() != first.stride() for tensor in tensors):
        return [tensor.contiguous() for tensor in tensors]
    return tensors


def _by_type(kinds: Sequence[Any]) -> list[tuple[Any, list[int]]]:
    """Places of equal kinds."""
    places: dict[Any, list[int]] = {}
    for place, kind in enumerate(kinds):
        places.setdefault(kind, []).append(place)
    return list(places.items())
