"""The CPU back end: tables for the compiled parts, and their results made readable."""

# The compiled parts carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels import _cpu_loops as loops
from deephochuli.kernels import _cpu_work as work
from deephochuli.kernels._contract import (
    ChannelCounts,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._cpu_entries import address_of
from deephochuli.kernels._layout import (
    FLOAT8_TYPES,
    ChannelMap,
    channel_map,
    dense,
    table_of,
    update_tensors,
)
from deephochuli.kernels._merge import EagerRows, largest, merge_counts, smallest
from deephochuli.kernels._pool import run_everywhere
from deephochuli.kernels._reference import summarise_update

PART = 1 << 18
# Counters have 32 bits: no job may have more elements.
PIECE = 1 << 30
# Below this many elements waking other threads costs more than they help.
_SMALL = 1 << 15
_MOST_KEYS, _MOST_KEYS_64 = 2 * (254 * 16 + 23 * 16) + 5, 1 << 16
_KINDS: dict[torch.dtype, int] = {
    torch.float32: loops.BINARY32,
    torch.float64: loops.BINARY64,
    torch.bfloat16: loops.BFLOAT16,
    torch.float16: loops.BINARY16,
    **dict.fromkeys(FLOAT8_TYPES, loops.TABLE8),
}
_NO_CHANNELS = ChannelMap(0, 0)


class _Workspace(threading.local):
    """Scratch memory of the calling thread, grown when needed and kept.

    Compiled code leaves the scratch memory as zero as it found it.
    """

    def __init__(self) -> None:
        self.n_slots = self.arena = self.scratch_at = self.keys_at = self.counts_at = 0
        self._tables: dict[str, tuple[NDArray[np.int64], int]] = {}

    def prepare(self, n_slots: int, arena: int) -> None:
        """Make room for some threads, each with an arena of some entries."""
        if n_slots <= self.n_slots and arena <= self.arena:
            return
        if n_slots > self.n_slots:
            self.scratch = np.zeros((n_slots, loops.SLOT_BYTES), np.uint8)
            self.scratch_at = self.scratch.ctypes.data
        self.n_slots, self.arena = max(n_slots, self.n_slots), max(arena, self.arena)
        self.keys = np.empty((self.n_slots, self.arena), np.uint16)
        self.counts = np.empty((self.n_slots, self.arena), np.uint32)
        self.keys_at, self.counts_at = self.keys.ctypes.data, self.counts.ctypes.data

    def table(self, name: str, size: int) -> tuple[NDArray[np.int64], int]:
        """An array of at least some size, and its address, which takes a while to ask for."""
        found = self._tables.get(name)
        if found is None or len(found[0]) < size:
            array = np.zeros(2 * size, np.int64)
            found = self._tables[name] = (array, array.ctypes.data)
        return found


_workspace = _Workspace()


class _Source(NamedTuple):
    """Addresses of what a job reads."""

    kind: int
    data: int
    before: int = 0
    gradient: int = 0
    table: int = 0


class _Call:
    """One call of the compiled code: the tables going in and the results coming out."""

    def __init__(self, *, update: bool, wide: bool) -> None:
        self._update, self._wide = update, wide
        self._jobs: list[int] = []
        self._parts: list[int] = []
        self._n_jobs = self._n_parts = self._arena = self._n_elements = 0
        self._first_part: list[int] = [0]
        self._first_job: list[int] = [0]
        self._counted: dict[int, int] = {}
        self._slabs: dict[int, NDArray[np.uint32]] = {}
        self._keep: list[Any] = []
        self._narrow = False

    def add(self, source: _Source, n: int, keep: Any, channels: ChannelMap = _NO_CHANNELS) -> int:
        """Add the work on one tensor; return by which index to ask for its results.

        A tensor is one job, or several if it is very large.
        """
        self._narrow |= source.kind > loops.BINARY64
        if channels.n_channels:
            for job in range(self._n_jobs, self._n_jobs - (-n // PIECE)):
                self._counted[job] = channels.n_channels
        for origin in range(0, n, PIECE):
            self._add_piece(source, origin, min(n - origin, PIECE), channels)
        self._first_part.append(self._n_parts)
        self._first_job.append(self._n_jobs)
        self._n_elements += n
        self._keep.append(keep)
        return len(self._first_part) - 2

    def _add_piece(self, source: _Source, origin: int, n: int, channels: ChannelMap) -> None:
        kind, data, before, gradient, table = source
        if origin:
            skip = origin * _SIZES[kind]
            data, before, gradient = (at + skip if at else 0 for at in (data, before, gradient))
        self._jobs += (kind, data, before, gradient, table, origin, *channels, 0)
        for start in range(0, n, PART):
            self._parts += (self._n_jobs, start, min(n, start + PART))
            self._n_parts += 1
        self._n_jobs += 1
        most = min(n, _MOST_KEYS_64 if self._wide else _MOST_KEYS)
        self._arena += 3 * most + min(n, loops.N_RATIOS) if self._update else most

    def run(self) -> None:
        """Do the work on torch's threads.

        All tables lie in two arrays, in and out: most tensors are small, and what is done for each
        call counts.
        """
        self._moments: list[float] = []
        self._segments: list[list[tuple[int, list[int], list[float]]]] = []
        if not self._n_parts:
            return
        small = self._n_elements < _SMALL or self._n_parts < 2
        n_slots = 1 if small else min(torch.get_num_threads(), self._n_parts)
        space = _workspace
        space.prepare(n_slots, self._arena)
        self._attach_slabs(n_slots)
        rows = n_slots * self._n_jobs
        sizes = (work.M_COLUMNS * self._n_parts, work.X_COLUMNS * rows, work.G_COLUMNS * rows)
        out, moments_at = space.table("out", sum(sizes) + n_slots)
        out = out[: sum(sizes) + n_slots]
        out[:] = 0
        extremes_at = moments_at + 8 * sizes[0]
        segments_at = extremes_at + 8 * sizes[1]
        head = [0, 0, self._n_parts, 0, 0, moments_at, space.scratch_at]
        head += [space.keys_at, space.counts_at, space.arena, segments_at, extremes_at]
        head += [segments_at + 8 * sizes[2], self._n_jobs, *self._functions()]
        table, control = space.table("in", len(head) + len(self._jobs) + len(self._parts))
        head[work.C_JOBS] = control + 8 * len(head)
        head[work.C_PART_TABLE] = head[work.C_JOBS] + 8 * len(self._jobs)
        table[: len(head) + len(self._jobs) + len(self._parts)] = head + self._jobs + self._parts
        run_everywhere(address_of("work"), control, n_slots)
        self._keep.clear()
        self._collect(out, sizes, n_slots)

    def _functions(self) -> list[int]:
        """Sizes and addresses of the functions that this call needs, and of no other."""
        width = "64" if self._wide else "32"
        return [
            3 if self._update else 1,
            8 if self._wide else 4,
            loops.BLOCK // 2 if self._wide else loops.BLOCK,
            address_of("add_block" + width),
            address_of("drain" + width),
            address_of("widen") if self._narrow else 0,
            address_of("channels" + width) if self._counted else 0,
            address_of("compare" + width) if self._update else 0,
        ]

    def _attach_slabs(self, n_slots: int) -> None:
        """Give each thread its own channel counters for each job that counts channels."""
        for job, n_channels in self._counted.items():
            slab = self._slabs[job] = np.zeros((n_slots, 3, n_channels), np.uint32)
            self._jobs[job * work.J_COLUMNS + work.J_COUNTS] = slab.ctypes.data

    def _collect(self, out: NDArray[np.int64], sizes: tuple[int, int, int], n_slots: int) -> None:
        """Take the results out of memory that the next call uses again."""
        numbers = out[: sizes[0] + sizes[1]].view(np.float64).tolist()
        self._moments, extremes = numbers[: sizes[0]], numbers[sizes[0] :]
        segments = out[sizes[0] + sizes[1] : -n_slots]
        self._segments = [[] for _ in range(self._n_jobs)]
        self._keys: list[NDArray[np.uint16]] = []
        self._counts: list[NDArray[np.int64]] = []
        for slot, n in enumerate(out[-n_slots:].tolist()):
            start = slot * self._n_jobs
            first = start * work.G_COLUMNS
            rows = segments[first : first + n * work.G_COLUMNS].tolist()
            row: list[int] = []
            for number in range(n):
                row = rows[number * work.G_COLUMNS : (number + 1) * work.G_COLUMNS]
                edge = (start + number) * work.X_COLUMNS
                piece = slot, row, extremes[edge : edge + work.X_COLUMNS]
                self._segments[row[work.G_JOB]].append(piece)
            last = work.G_RATIO_AT if self._update else work.G_SETS  # what a segment ends with
            used = row[last] + row[last + 1] if row else 0
            self._keys.append(_workspace.keys[slot, :used].copy())
            self._counts.append(_workspace.counts[slot, :used].astype(np.int64))

    def _pieces(self, index: int) -> list[tuple[int, list[int], list[float]]]:
        first, stop = self._first_job[index : index + 2]
        if stop - first == 1:
            return self._segments[first]
        return [piece for job in range(first, stop) for piece in self._segments[job]]

    def _slice(
        self, slot: int, row: list[int], column: int
    ) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        start = row[column]
        stop = start + row[column + 1]
        return self._keys[slot][start:stop], self._counts[slot][start:stop]

    def summary(self, index: int, which: int, channels: ChannelCounts | None = None) -> Summary:
        """Combine what the threads found in one set of one tensor."""
        pieces = self._pieces(index)
        if not pieces:
            return _nothing(channels)
        column = work.G_SETS + 2 * which
        first = self._first_part[index] * work.M_COLUMNS
        stop = self._first_part[index + 1] * work.M_COLUMNS
        first += 2 * which
        if stop - first <= work.M_COLUMNS:
            total, squares = self._moments[first], self._moments[first + 1]
        else:
            total = _total(self._moments[first : stop : work.M_COLUMNS])
            squares = _total(self._moments[first + 1 : stop : work.M_COLUMNS])
        if len(pieces) == 1:
            slot, row, extremes = pieces[0]
            keys, counts = self._slice(slot, row, column)
            low, high = extremes[2 * which], extremes[2 * which + 1]
        else:
            keys, counts = merge_counts([self._slice(slot, row, column) for slot, row, _ in pieces])
            low = smallest(extremes[2 * which] for _, _, extremes in pieces)
            high = largest(extremes[2 * which + 1] for _, _, extremes in pieces)
        return Summary(keys, counts, total, squares, low, high, channels)

    def channel_counts(self, index: int, n_channels: int, n: int) -> ChannelCounts:
        """Combine the channel counts of one tensor."""
        total = np.zeros((3, n_channels), np.int64)
        for job in range(*self._first_job[index : index + 2]):
            total += self._slabs[job].sum(0, dtype=np.int64)
        return ChannelCounts(n // n_channels if n_channels else 0, *total)

    def ratios(self, index: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Combine the ratio counts of one parameter."""
        parts = [self._slice(s, row, work.G_RATIO_AT) for s, row, _ in self._pieces(index)]
        if not parts:
            return np.zeros(0, np.int16), np.zeros(0, np.int64)
        keys, counts = merge_counts(parts)
        return keys.view(np.int16) - np.int16(loops.RATIO_ZERO), counts

    def moved(self, index: int) -> tuple[int, int]:
        """Elements that should have moved, and how many of them did not."""
        pieces = self._pieces(index)
        return (
            sum(row[work.G_UPDATABLE] for _, row, _ in pieces),
            sum(row[work.G_UNMOVED] for _, row, _ in pieces),
        )


_SIZES = {
    loops.BINARY32: 4,
    loops.BINARY64: 8,
    loops.BFLOAT16: 2,
    loops.BINARY16: 2,
    loops.TABLE8: 1,
}


def _nothing(channels: ChannelCounts | None) -> Summary:
    keys, counts = np.zeros(0, np.uint16), np.zeros(0, np.int64)
    return Summary(keys, counts, 0.0, 0.0, math.nan, math.nan, channels)


def _total(parts: list[float]) -> float:
    return math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts)


def _source(tensors: list[torch.Tensor]) -> _Source:
    """Addresses of tensors (data; or after, before, gradient) of one type."""
    dtype = tensors[0].dtype
    kind = _KINDS[dtype]
    addresses = [tensor.data_ptr() for tensor in tensors]
    after, before, gradient = addresses + [0] * (3 - len(addresses))
    table = table_of(dtype).ctypes.data if kind == loops.TABLE8 else 0
    return _Source(kind, after, before, gradient, table)


class CpuBackend:
    """Summaries by compiled code on torch's own threads."""

    name = "numba"

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        return EagerRows(self.summarise)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one result per job, in order."""
        calls: dict[bool, _Call] = {}
        places: list[tuple[_Call, int, torch.Tensor]] = []
        for job in jobs:
            tensor = dense(job.tensor, job.channel_dim)
            wide, n = tensor.dtype == torch.float64, tensor.numel()
            call = calls.get(wide)
            if call is None:
                call = calls[wide] = _Call(update=False, wide=wide)
            channels = _NO_CHANNELS
            if job.channel_dim is not None and n:
                channels = channel_map(tensor, job.channel_dim)
            places.append((call, call.add(_source([tensor]), n, tensor, channels), tensor))
        for call in calls.values():
            call.run()
        return [
            _summary(call, index, tensor, job.channel_dim)
            for (call, index, tensor), job in zip(places, jobs, strict=True)
        ]

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one result per job, in order."""
        calls: dict[bool, _Call] = {}
        places: list[tuple[_Call, int] | None] = []
        for job in jobs:
            tensors = update_tensors(job)
            first = tensors[0]
            if any(tensor.dtype != first.dtype for tensor in tensors):
                places.append(None)  # rare: left to the reference
                continue
            if any(tensor.stride() != first.stride() for tensor in tensors):
                tensors = [tensor.contiguous() for tensor in tensors]
            wide = first.dtype == torch.float64
            call = calls.get(wide)
            if call is None:
                call = calls[wide] = _Call(update=True, wide=wide)
            places.append((call, call.add(_source(tensors), first.numel(), tensors)))
        for call in calls.values():
            call.run()
        return [
            summarise_update(job) if place is None else _update(*place, job)
            for place, job in zip(places, jobs, strict=True)
        ]


def _summary(call: _Call, index: int, tensor: torch.Tensor, dim: int | None) -> Summary:
    if dim is None:
        return call.summary(index, 0)
    n_channels = tensor.shape[dim]
    return call.summary(index, 0, call.channel_counts(index, n_channels, tensor.numel()))


def _update(call: _Call, index: int, job: UpdateJob) -> UpdateSummary:
    ratios, ratio_counts = call.ratios(index)
    return UpdateSummary(
        call.summary(index, 0),
        None if job.gradient is None else call.summary(index, 1),
        call.summary(index, 2),
        *call.moved(index),
        ratios,
        ratio_counts,
    )
