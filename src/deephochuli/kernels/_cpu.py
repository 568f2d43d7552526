"""The CPU back end: tables for the compiled parts, and their results made readable."""

# The compiled parts carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import functools
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
from deephochuli.kernels._layout import FLOAT8_TYPES, ChannelMap, channel_map, dense, update_tensors
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


@functools.cache
def _table_of(dtype: torch.dtype) -> NDArray[np.uint32]:
    """Binary32 patterns of all 256 codes of an eight-bit type; all different, NaNs too."""
    codes = torch.arange(256, dtype=torch.uint8)
    table = codes.view(dtype).to(torch.float32).numpy().view(np.uint32).copy()
    is_nan = (table & 0x7FFFFFFF) > 0x7F800000
    table[is_nan] = 0x7FC00000 | np.flatnonzero(is_nan).astype(np.uint32)
    return table


class _Workspace(threading.local):
    """Scratch memory of the calling thread, grown when needed and kept.

    Compiled code leaves the scratch memory as zero as it found it.
    """

    def __init__(self) -> None:
        self.scratch = np.zeros((0, loops.SLOT_BYTES), np.uint8)
        self.keys = np.empty((0, 0), np.uint16)
        self.counts = np.empty((0, 0), np.uint32)

    def prepare(self, n_slots: int, arena: int) -> None:
        """Make room for some threads, each with an arena of some entries."""
        if n_slots > len(self.scratch):
            self.scratch = np.zeros((n_slots, loops.SLOT_BYTES), np.uint8)
        if n_slots > self.keys.shape[0] or arena > self.keys.shape[1]:
            shape = max(n_slots, self.keys.shape[0]), max(arena, self.keys.shape[1])
            self.keys, self.counts = np.empty(shape, np.uint16), np.empty(shape, np.uint32)


_workspace = _Workspace()


class _Source(NamedTuple):
    """Addresses of what a job reads."""

    kind: int
    data: int
    before: int = 0
    gradient: int = 0
    table: int = 0


class _Piece(NamedTuple):
    """Counts of one set of one job, from one thread."""

    keys: NDArray[np.uint16]
    counts: NDArray[np.int64]
    low: float
    high: float


_NOTHING = _Piece(np.zeros(0, np.uint16), np.zeros(0, np.int64), math.nan, math.nan)


class _Call:
    """One call of a compiled entry: the tables going in and the results coming out."""

    def __init__(self, *, update: bool, wide: bool) -> None:
        self._update, self._wide = update, wide
        self._jobs: list[tuple[int, ...]] = []
        self._parts: list[tuple[int, int, int]] = []
        self._first_part: list[int] = [0]
        self._first_job: list[int] = [0]
        self._arena = 0
        self._n_elements = 0
        self._keep: list[Any] = []
        self.n_threads = 1

    def add(self, source: _Source, n: int, keep: Any, channels: ChannelMap = _NO_CHANNELS) -> int:
        """Add the work on one tensor; return by which index to ask for its results.

        A tensor is one job, or several if it is very large.
        """
        size, most = (8, _MOST_KEYS_64) if self._wide else (_SIZES[source.kind], _MOST_KEYS)
        for origin in range(0, n, PIECE):
            length, skip = min(n - origin, PIECE), origin * size
            moved = [address + skip if address else 0 for address in source[1:4]]
            row = (source.kind, *moved, source.table, origin, *channels, 0)
            for start in range(0, length, PART):
                self._parts.append((len(self._jobs), start, min(length, start + PART)))
            self._jobs.append(row)
            n_sets = 3 if self._update else 1
            self._arena += n_sets * min(length, most)
            self._arena += min(length, loops.N_RATIOS) if self._update else 0
        self._first_part.append(len(self._parts))
        self._first_job.append(len(self._jobs))
        self._n_elements += n
        self._keep.append(keep)
        return len(self._first_part) - 2

    def run(self) -> None:
        """Do the work on torch's threads."""
        n_parts, n_jobs = len(self._parts), len(self._jobs)
        small = self._n_elements < _SMALL or n_parts < 2
        self.n_threads = n_slots = 1 if small else min(torch.get_num_threads(), n_parts)
        space = _workspace
        space.prepare(n_slots, self._arena)
        jobs = np.array(self._jobs, np.uint64).reshape(n_jobs, work.J_COLUMNS)
        self._slabs = self._attach_slabs(jobs, n_slots)
        parts = np.array(self._parts, np.int64)
        moments = np.zeros((n_parts, work.M_COLUMNS))
        segments = np.zeros((n_slots, n_jobs, work.G_COLUMNS), np.int64)
        extremes = np.empty((n_slots, n_jobs, work.X_COLUMNS))
        n_segments = np.zeros(n_slots, np.int64)
        tables = (jobs, parts, moments, space.scratch, space.keys, space.counts)
        addresses = [table.ctypes.data for table in tables]
        results = [table.ctypes.data for table in (segments, extremes, n_segments)]
        head = [0, 0, n_parts, *addresses, space.keys.shape[1], *results, n_jobs]
        control = np.array(head + self._functions(), np.uint64)
        if n_parts:
            run_everywhere(address_of("work"), control.ctypes.data, n_slots)
        self._keep.clear()
        self._moments = moments.tolist()
        self._collect(n_segments.tolist(), segments, extremes)

    def _functions(self) -> list[int]:
        """Sizes and addresses of the functions that this call needs, and of no other."""
        width = 64 if self._wide else 32
        narrow = any(row[work.J_TYPE] not in (loops.BINARY32, loops.BINARY64) for row in self._jobs)
        channels = any(row[work.J_CHANNELS] for row in self._jobs)
        return [
            3 if self._update else 1,
            width // 8,
            loops.BLOCK * 32 // width,
            address_of(f"add_block{width}"),
            address_of(f"drain{width}"),
            address_of("widen") if narrow else 0,
            address_of(f"channels{width}") if channels else 0,
            address_of(f"compare{width}") if self._update else 0,
        ]

    def _attach_slabs(self, jobs: NDArray[np.uint64], n_slots: int) -> list[Any]:
        """Give each thread its own channel counters for each job that counts channels."""
        slabs: list[Any] = []
        for index, row in enumerate(self._jobs):
            n_channels = row[work.J_CHANNELS]
            slab = np.zeros((n_slots, 3, n_channels), np.uint32) if n_channels else None
            slabs.append(slab)
            if slab is not None:
                jobs[index, work.J_COUNTS] = slab.ctypes.data
        return slabs

    def _collect(
        self,
        n_segments: list[int],
        segments: NDArray[np.int64],
        extremes: NDArray[np.float64],
    ) -> None:
        """Take the results out of memory that the next call uses again."""
        self._segments: list[list[tuple[int, list[int], list[float]]]] = [[] for _ in self._jobs]
        self._keys: list[NDArray[np.uint16]] = []
        self._counts: list[NDArray[np.int64]] = []
        for slot, n in enumerate(n_segments):
            rows = segments[slot, :n].tolist()
            edges = extremes[slot, :n].tolist()
            for row, edge in zip(rows, edges, strict=True):
                self._segments[row[0]].append((slot, row, edge))
            used = max((_arena_end(row) for row in rows), default=0)
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
            return Summary(_NOTHING.keys, _NOTHING.counts, 0.0, 0.0, math.nan, math.nan, channels)
        column = work.G_SETS + 2 * which
        first, stop = self._first_part[index : index + 2]
        if stop - first == 1:
            total, squares = self._moments[first][2 * which : 2 * which + 2]
        else:
            rows = self._moments[first:stop]
            total, squares = (_total([row[2 * which + k] for row in rows]) for k in (0, 1))
        if len(pieces) == 1:
            slot, row, (*extremes,) = pieces[0]
            keys, counts = self._slice(slot, row, column)
            low, high = extremes[2 * which : 2 * which + 2]
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


def _arena_end(row: list[int]) -> int:
    last = row[work.G_RATIO_AT] + row[work.G_RATIO_N]
    return max(last, *(row[c] + row[c + 1] for c in range(work.G_SETS, work.G_COLUMNS, 2)))


def _total(parts: list[float]) -> float:
    return math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts)


def _source(tensors: list[torch.Tensor]) -> _Source:
    """Addresses of tensors (data; or after, before, gradient) of one type."""
    dtype = tensors[0].dtype
    kind = _KINDS[dtype]
    addresses = [tensor.data_ptr() for tensor in tensors] + [0] * (3 - len(tensors))
    return _Source(kind, *addresses, _table_of(dtype).ctypes.data if kind == loops.TABLE8 else 0)


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
