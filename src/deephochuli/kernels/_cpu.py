"""The CPU back end: tables for the compiled parts, and their results made readable."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.kernels import _cpu_parts as parts
from deephochuli.kernels._contract import (
    ChannelCounts,
    Rows,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._layout import FLOAT8_TYPES, flatten
from deephochuli.kernels._merge import EagerRows, largest, merge_counts, smallest
from deephochuli.kernels._pool import run_everywhere

PART = 1 << 18
_SMALL = 1 << 15
_MAX_KEYS = {parts.BINARY64: parts.N_KEYS}
_MAX_KEYS_32 = 9216
_KINDS: dict[torch.dtype, int] = {
    torch.float32: parts.BINARY32,
    torch.float64: parts.BINARY64,
    torch.bfloat16: parts.BFLOAT16,
    torch.float16: parts.BINARY16,
    **dict.fromkeys(FLOAT8_TYPES, parts.TABLE8),
}


@functools.cache
def _table_of(dtype: torch.dtype) -> NDArray[np.uint32]:
    """Binary32 patterns of all 256 codes of an eight-bit type."""
    values = torch.arange(256, dtype=torch.uint8).view(dtype).to(torch.float32)
    return values.numpy().view(np.uint32).copy()


class _Workspace(threading.local):
    """Scratch memory of the calling thread, grown when needed and kept."""

    def __init__(self) -> None:
        self.n_slots = 0
        self.arena = 0
        self.control = np.zeros(parts.C_COLUMNS, np.uint64)

    def prepare(self, n_slots: int, arena: int) -> None:
        """Make room for some threads, each with an arena of some entries."""
        if n_slots > self.n_slots:
            self.scratch = np.zeros(n_slots * parts.SLOT_BYTES, np.uint8)
            states = self.scratch.reshape(n_slots, parts.SLOT_BYTES)
            extremes = states[:, parts.S_STATE + 48 : parts.S_STATE + 120].copy().view(np.uint64)
            extremes.reshape(n_slots, 3, 3)[:, :, 0] = np.iinfo(np.uint64).max
            states[:, parts.S_STATE + 48 : parts.S_STATE + 120] = extremes.view(np.uint8)
        if n_slots > self.n_slots or arena > self.arena:
            self.arena = max(arena, self.arena)
            self.n_slots = max(n_slots, self.n_slots)
            self.keys = np.empty((self.n_slots, self.arena), np.uint16)
            self.counts = np.empty((self.n_slots, self.arena), np.uint32)


_workspace = _Workspace()


class _Call:
    """One call of the compiled code: the tables going in and the results coming out."""

    def __init__(self, n_jobs: int) -> None:
        self.jobs = np.zeros((n_jobs, parts.J_COLUMNS), np.uint64)
        self.cuts: list[tuple[int, int, int]] = []
        self.first: list[int] = []
        self.arena = 0
        self.n_elements = 0
        self.keep: list[Any] = []

    def add(self, job: int, kind: int, n: int, n_sets: int) -> None:
        """Cut a job of ``n`` elements into parts."""
        self.first.append(len(self.cuts))
        self.jobs[job, parts.J_FIRST_PART] = len(self.cuts)
        most = _MAX_KEYS.get(kind, _MAX_KEYS_32)
        for start in range(0, n, PART):
            stop = min(n, start + PART)
            self.cuts.append((job, start, stop))
            self.arena += n_sets * min(stop - start, most)
            if n_sets > 1:
                self.arena += min(stop - start, parts.N_RATIOS)
        self.n_elements += n * n_sets

    def run(self) -> None:
        """Do the work on torch's threads."""
        self.first.append(len(self.cuts))
        table = np.zeros((len(self.cuts), parts.P_COLUMNS), np.int64)
        if self.cuts:
            table[:, :3] = self.cuts
        self.table = table
        self.moments = np.zeros((len(self.cuts), parts.M_COLUMNS))
        small = self.n_elements < _SMALL or len(self.cuts) < 2
        n_threads = 1 if small else min(torch.get_num_threads(), len(self.cuts))
        space = _workspace
        space.prepare(n_threads, self.arena)
        space.control[:] = (
            0,
            0,
            len(self.cuts),
            self.jobs.ctypes.data,
            table.ctypes.data,
            self.moments.ctypes.data,
            space.scratch.ctypes.data,
            space.keys.ctypes.data,
            space.counts.ctypes.data,
            space.arena,
        )
        run_everywhere(parts.work, parts.work_entry.address, space.control.ctypes.data, n_threads)
        self.keys, self.counts = space.keys, space.counts

    def summary(self, job: int, which: int, channels: ChannelCounts | None = None) -> Summary:
        """Combine the parts of one set of one job."""
        rows = range(self.first[job], self.first[job + 1])
        if len(rows) == 0:
            return Summary(
                np.zeros(0, np.uint16), np.zeros(0, np.int64), 0.0, 0.0, math.nan, math.nan, channels
            )
        column = parts.P_KEYS + 2 * which
        keys, counts = merge_counts([self._slice(row, column) for row in rows])
        moments = self.moments[rows.start : rows.stop, 4 * which : 4 * which + 4]
        return Summary(
            keys,
            counts,
            math.fsum(moments[:, 0]),
            math.fsum(moments[:, 1]),
            smallest(moments[:, 2].tolist()),
            largest(moments[:, 3].tolist()),
            channels,
        )

    def ratios(self, job: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Combine the ratio counts of one job."""
        rows = range(self.first[job], self.first[job + 1])
        if len(rows) == 0:
            return np.zeros(0, np.int16), np.zeros(0, np.int64)
        keys, counts = merge_counts([self._slice(row, parts.P_RATIO_AT) for row in rows])
        return (keys.astype(np.int64) - parts.RATIO_ZERO).astype(np.int16), counts

    def total(self, job: int, column: int) -> int:
        """Add up one column over the parts of one job."""
        return int(self.table[self.first[job] : self.first[job + 1], column].sum())

    def _slice(self, row: int, column: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        slot, at, n = self.table[row, [parts.P_SLOT, column, column + 1]].tolist()
        return self.keys[slot, at : at + n].copy(), self.counts[slot, at : at + n].astype(np.int64)


class CpuBackend:
    """Summaries by compiled code on torch's own threads."""

    name = "numba"

    def rows(self) -> Rows:
        """Make an empty set of rows."""
        return EagerRows(self.summarise)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one result per job, in order."""
        call = _Call(len(jobs))
        slabs: list[NDArray[np.uint32] | None] = []
        sizes: list[int] = []
        for index, job in enumerate(jobs):
            flat = flatten(job.tensor, job.channel_dim)
            n, kind = flat.tensor.numel(), _KINDS[flat.tensor.dtype]
            slab = None
            if flat.n_channels:
                slab = np.zeros((-(-n // PART), 3, flat.n_channels), np.uint32)
            slabs.append(slab)
            sizes.append(n)
            table = _table_of(flat.tensor.dtype).ctypes.data if kind == parts.TABLE8 else 0
            call.jobs[index, :10] = (
                0,
                kind,
                flat.tensor.data_ptr(),
                n,
                0,
                0,
                flat.inner,
                flat.n_channels,
                0 if slab is None else slab.ctypes.data,
                table,
            )
            call.keep.append(flat.tensor)
            call.add(index, kind, n, 1)
        call.run()
        return [
            call.summary(index, 0, _channel_counts(slab, n, job))
            for index, (slab, n, job) in enumerate(zip(slabs, sizes, jobs, strict=True))
        ]

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one result per job, in order."""
        call = _Call(len(jobs))
        for index, job in enumerate(jobs):
            tensors = [flatten(t).tensor for t in _aligned(job)]
            kind, n = _KINDS[tensors[0].dtype], tensors[0].numel()
            gradient = tensors[2].data_ptr() if len(tensors) > 2 else 0
            call.jobs[index, :6] = (
                1,
                kind,
                tensors[1].data_ptr(),
                n,
                tensors[0].data_ptr(),
                gradient,
            )
            if kind == parts.TABLE8:
                call.jobs[index, parts.J_TABLE] = _table_of(tensors[0].dtype).ctypes.data
            call.keep.append(tensors)
            call.add(index, kind, n, 3)
        call.run()
        return [self._update(call, index, job) for index, job in enumerate(jobs)]

    def _update(self, call: _Call, index: int, job: UpdateJob) -> UpdateSummary:
        ratios, ratio_counts = call.ratios(index)
        return UpdateSummary(
            call.summary(index, 0),
            None if job.gradient is None else call.summary(index, 1),
            call.summary(index, 2),
            call.total(index, parts.P_UPDATABLE),
            call.total(index, parts.P_UNMOVED),
            ratios,
            ratio_counts,
        )


def _aligned(job: UpdateJob) -> list[torch.Tensor]:
    """The tensors of an update with one dtype and one memory order, as a flat read needs them."""
    after = job.after.detach()
    tensors = [job.before.detach(), after]
    if job.gradient is not None:
        tensors.append(job.gradient.detach())
    same = all(t.stride() == after.stride() and t.dtype == after.dtype for t in tensors)
    if same:
        return tensors
    return [t.to(after.dtype).contiguous() for t in tensors]


def _channel_counts(
    slab: NDArray[np.uint32] | None, n: int, job: TensorJob
) -> ChannelCounts | None:
    if job.channel_dim is None:
        return None
    if slab is None:  # no elements
        n_channels = job.tensor.shape[job.channel_dim]
        return ChannelCounts(0, *(np.zeros(n_channels, np.int64) for _ in range(3)))
    positive, zero, nonfinite = slab.sum(0, dtype=np.int64)
    return ChannelCounts(n // slab.shape[2], positive, zero, nonfinite)
