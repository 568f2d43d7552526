"""Small tensors are copied and counted many at a time: a call of the kernel costs more than them.

A net of ten thousand small modules shows tens of thousands of tensors in each step. Each must be
read while it holds its value, and a copy is the cheapest way of reading.
"""

# The stack of dispatch modes has no public interface in torch.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from deephochuli.kernels import Backend, Summary, TensorJob, merge_summaries

MOST_ELEMENTS: Final = 1 << 12
"""A tensor of more elements is counted where it lies."""
MOST_TENSORS: Final = 256
"""So many copies are kept at once, at most: 8 MiB of binary64."""
GATHERING: Final = "many small tensors at once"
"""What fails, in the words of a message, when a call for many of them does."""

Fault = Callable[[int | str, Exception], None]


class GatheredRows:
    """Rows of a CPU in which small tensors wait for others.

    A row lies here, or with the back end if its first tensor was a large one. All its parts lie in
    one place, so that their sums are rounded once.
    """

    def __init__(self, backend: Backend, on_fault: Fault) -> None:
        """Count by `backend`.

        `on_fault` learns which row cannot be counted, or that `GATHERING` has failed, which is
        not tried again, and why.
        """
        self._backend = backend
        self._on_fault = on_fault
        self._gathers = True
        self._large = backend.rows()
        self._parts: dict[int, list[Summary] | None] = {}  # None: with the back end
        # Threads of autograd may add at once: `append` and `popleft` let one of them come first.
        self._waiting: deque[tuple[int, TensorJob]] = deque()

    def add(self, row: int, job: TensorJob) -> None:
        """Count one more tensor into a row, now or together with others."""
        waits = self._gathers and is_small(job.tensor)
        parts = self._parts.setdefault(row, [] if waits else None)
        if parts is None:
            self._large.add(row, job)
        elif waits:
            self._waiting.append((row, TensorJob(job.tensor.clone(), job.channel_dim)))
            if len(self._waiting) >= MOST_TENSORS:
                self._count_waiting()
        else:
            self._count([row], [job])

    def read(self) -> dict[int, Summary]:
        """Return the rows that were added to, in the order of their first tensors; empty all."""
        self._count_waiting()
        large = self._large.read()
        rows: dict[int, Summary] = {}
        for row, parts in self._parts.items():
            if parts:
                rows[row] = merge_summaries(parts)
            elif row in large:
                rows[row] = large[row]
        self._parts = {}
        return rows

    def _count_waiting(self) -> None:
        rows: list[int] = []
        jobs: list[TensorJob] = []
        while self._waiting:
            try:
                row, job = self._waiting.popleft()
            except IndexError:  # another thread took the last one
                break
            rows.append(row)
            jobs.append(job)
        if not jobs:
            return
        try:
            self._count(rows, jobs)
        except Exception as error:  # one of them may be the cause, and the others innocent
            self._gathers = False
            self._on_fault(GATHERING, error)
            self._count_alone(rows, jobs)

    def _count_alone(self, rows: Sequence[int], jobs: Sequence[TensorJob]) -> None:
        for row, job in zip(rows, jobs, strict=True):
            try:
                self._count([row], [job])
            except Exception as error:  # an instrument never stops the training
                self._on_fault(row, error)

    def _count(self, rows: Sequence[int], jobs: Sequence[TensorJob]) -> None:
        summaries = self._backend.summarise(jobs)  # may fail, and must leave nothing behind then
        for row, summary in zip(rows, summaries, strict=True):
            parts = self._parts[row]
            if parts is not None:
                parts.append(summary)


def is_small(tensor: Tensor) -> bool:
    """Say whether a tensor is copied sooner than counted.

    Where a mode of the user's sees each operation of torch, it would see the copy.
    """
    return (
        tensor.numel() <= MOST_ELEMENTS
        and type(tensor) is Tensor
        and tensor.is_contiguous()
        and not torch._C._len_torch_dispatch_stack()
    )
