"""What launches the kernels of a GPU: one contract for those in Triton and those in CUDA C++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class Channels:
    """Where the channels of a tensor are counted, and how they lie in it.

    Attributes:
        counts: Counters on the device, int64.
        start: Where those of the positive elements of each channel begin; behind them are those of
            the zero and of the not finite ones.
        n_channels: How many there are.
        inner: Elements of a channel that lie side by side; 1: the channel is the fastest dimension.
    """

    counts: torch.Tensor
    start: int
    n_channels: int
    inner: int


@dataclass(frozen=True, slots=True)
class Tables:
    """What one launch counts; all tensors are of one type and lie on one device.

    Attributes:
        rows: Rows, as `_device_rows` says, int64.
        jobs: Addresses, elements and places of the tensors, int64.
        parts: Of each program the job and its first element, int64.
        n_parts: How many programs.
        table: Patterns of the codes of an eight-bit type.
        kind: Type of the elements, as `_device_rows` says.
    """

    rows: torch.Tensor
    jobs: torch.Tensor
    parts: torch.Tensor
    n_parts: int
    table: torch.Tensor
    kind: int


class Counter(Protocol):
    """Launches on the current stream and waits for nothing.

    Attributes:
        name: For tests and messages.
        part: Elements that one program counts of a tensor in a table.
    """

    name: str
    part: int

    def count(
        self,
        words: torch.Tensor,
        place: int,
        tensor: torch.Tensor,
        kind: int,
        table: torch.Tensor,
        channels: Channels | None,
    ) -> None:
        """Count the elements of a dense tensor into the row at a place, and by channel."""
        ...

    def count_many(self, tables: Tables) -> None:
        """Count many tensors."""
        ...

    def count_updates(self, tables: Tables, extras: torch.Tensor, *, has_gradient: bool) -> None:
        """Count optimizer steps, and what is beside their rows."""
        ...
