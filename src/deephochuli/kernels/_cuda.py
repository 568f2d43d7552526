"""The back end of a GPU: rows on the device, launches without waiting, results when they are due.

All tensors of a ``summarise`` call are counted by one launch for each element type. Of the counters
only those that are not zero come to the host, on a stream of their own; whoever can do without them
for a while begins a reading and gets it later.

binary64 tensors, rare on a GPU, are left to the torch reference.

Numerics:
    Counts and extremes are exact and do not depend on the order of the programs. Sums are
    accumulated in binary64 by atomic additions, so their last bits can differ between two runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from deephochuli.kernels._contract import (
    Later,
    RowsOfDevice,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._counter import Counter, Tables
from deephochuli.kernels._device_rows import (
    EXTRA_WORDS,
    KINDS,
    ROW_WORDS,
    picked,
    summaries_of,
    table_on,
    update_summaries_of,
)
from deephochuli.kernels._device_store import CudaRows
from deephochuli.kernels._layout import dense, update_tensors
from deephochuli.kernels._merge import EagerRows
from deephochuli.kernels._reference import ReferenceBackend, summarise_update
from deephochuli.kernels._streams import Moment, beside, to_device, to_host

Result = TypeVar("Result")


class CudaBackend:
    """Summaries by compiled kernels; also on a CPU, where Triton interprets its own."""

    def __init__(self, device: torch.device, counter: Counter) -> None:
        """Count tensors that lie on `device`."""
        self._device, self._counter = device, counter
        self._reference = ReferenceBackend()
        self.name = counter.name

    def rows(self) -> RowsOfDevice:
        """Make an empty set of rows."""
        return CudaRows(self._device, self._counter)

    def summarise(self, jobs: Sequence[TensorJob]) -> list[Summary]:
        """Summarise tensors, one launch for each type, one result per job, in order."""
        return self.begin(jobs).get()

    def begin(self, jobs: Sequence[TensorJob]) -> Later[list[Summary]]:
        """Launch what `summarise` does."""
        found = _Found[Summary](self._device)
        with torch.no_grad():
            for dtype, places in _by_type([job.tensor.dtype for job in jobs]):
                group = [jobs[place] for place in places]
                if dtype not in KINDS or any(job.channel_dim is not None for job in group):
                    found.add(places, self._one_by_one(group))
                else:
                    found.add(places, self._together(dtype, [dense(job.tensor) for job in group]))
        return found

    def _one_by_one(self, jobs: Sequence[TensorJob]) -> Callable[[], list[Summary]]:
        rows = EagerRows(self._reference.summarise)
        if all(job.tensor.dtype in KINDS for job in jobs):
            rows = CudaRows(self._device, self._counter)
        for row, job in enumerate(jobs):
            rows.add(row, job)
        summaries = rows.read()
        return lambda: [summaries[row] for row in range(len(jobs))]

    def _together(
        self, dtype: torch.dtype, tensors: Sequence[torch.Tensor]
    ) -> Callable[[], list[Summary]]:
        words = self._zeros(len(tensors), ROW_WORDS)
        jobs = [(t.data_ptr(), t.numel(), row) for row, t in enumerate(tensors)]
        sizes = [t.numel() for t in tensors]
        if any(sizes):
            self._counter.count_many(self._tables(words, jobs, sizes, dtype))
        return lambda: summaries_of(*to_host(picked(words)))

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self._device)

    def _tables(
        self, rows: torch.Tensor, jobs: Sequence[Any], sizes: Sequence[int], dtype: torch.dtype
    ) -> Tables:
        n_parts = -(-np.array(sizes, np.int64) // self._counter.part)
        job = np.repeat(np.arange(len(sizes)), n_parts)
        number = np.arange(len(job)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        parts = np.stack([job, number * self._counter.part], 1)
        table = np.concatenate([np.array(jobs, np.int64).reshape(-1), parts.reshape(-1)])
        there, n = to_device(table, self._device), table.size - parts.size
        kind = KINDS[dtype]
        return Tables(rows, there[:n], there[n:], len(parts), table_on(dtype, self._device), kind)

    def summarise_updates(self, jobs: Sequence[UpdateJob]) -> list[UpdateSummary]:
        """Summarise optimizer steps, one launch for each type, one result per job, in order."""
        return self.begin_updates(jobs).get()

    def begin_updates(self, jobs: Sequence[UpdateJob]) -> Later[list[UpdateSummary]]:
        """Launch what `summarise_updates` does."""
        found = _Found[UpdateSummary](self._device)
        with torch.no_grad():
            tensors = [_alike(job) for job in jobs]
            kinds = [(t[0].dtype, len(t) == 3) if t else None for t in tensors]
            for kind, places in _by_type(kinds):
                if kind is None:
                    summaries = [summarise_update(jobs[place]) for place in places]
                    found.add(places, lambda summaries=summaries: summaries)
                else:
                    group = [tensors[place] or [] for place in places]
                    found.add(places, self._updates(kind, group))
        return found

    def _updates(
        self, kind: tuple[torch.dtype, bool], group: Sequence[Sequence[torch.Tensor]]
    ) -> Callable[[], list[UpdateSummary]]:
        dtype, has_gradient = kind
        words, extras = self._zeros(3 * len(group), ROW_WORDS), self._zeros(len(group), EXTRA_WORDS)
        jobs = [
            (*[t.data_ptr() for t in (*tensors, tensors[0])[:3]], tensors[0].numel(), 3 * i, i)
            for i, tensors in enumerate(group)
        ]
        sizes = [tensors[0].numel() for tensors in group]
        if any(sizes):
            tables = self._tables(words, jobs, sizes, dtype)
            self._counter.count_updates(tables, extras, has_gradient=has_gradient)

        def get() -> list[UpdateSummary]:
            *rows, beside_them = to_host([*picked(words), extras])
            return update_summaries_of(summaries_of(*rows), beside_them, has_gradient=has_gradient)

        return get


@dataclass(slots=True)
class _Found(Generic[Result]):
    """Results of groups of jobs, which are there or will be; see `Later`."""

    device: torch.device
    groups: list[tuple[list[int], Callable[[], list[Result]]]] = field(
        default_factory=list[tuple[list[int], Callable[[], list[Result]]]]
    )
    after: Moment | None = None

    def add(self, places: list[int], get: Callable[[], list[Result]]) -> None:
        """Note one group, whose work has been launched on the current stream."""
        self.groups.append((places, get))
        self.after = Moment(self.device)

    def get(self) -> list[Result]:
        """Wait for all of them, and put them in order."""
        if self.after is None:
            return []
        found: dict[int, Result] = {}
        with torch.no_grad(), beside(self.device, self.after):
            for places, get in self.groups:
                found.update(zip(places, get(), strict=True))
        return [found[place] for place in range(len(found))]


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
