"""What is done with the streams of a GPU, and how results come to the host."""

# numpy's arrays have no types in torch's signatures.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray


def is_capturing(device: torch.device) -> bool:
    """Whether the current stream of a device records a graph instead of executing."""
    if device.type != "cuda" or not torch.cuda.is_initialized():
        return False
    if device.index in (None, torch.cuda.current_device()):
        return torch.cuda.is_current_stream_capturing()
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


class Moment:
    """A moment in the work of a device; on a CPU all work before it is done."""

    def __init__(self, device: torch.device) -> None:
        """Note what the current stream has been given until now."""
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def let_wait(self, stream: torch.cuda.Stream) -> None:
        """Have a stream wait for it; the host does not wait."""
        if self._event is not None:
            stream.wait_event(self._event)


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which results of a device are read."""
    return torch.cuda.Stream(device)


def beside(device: torch.device, after: Moment) -> AbstractContextManager[object]:
    """Work on a stream of its own, on what was there at a moment."""
    if device.type != "cuda":
        return nullcontext()
    stream = _side_stream(device)
    after.let_wait(stream)
    return torch.cuda.stream(stream)


def to_host(tensors: Sequence[torch.Tensor]) -> list[NDArray[np.int64]]:
    """Copy int64 tensors of one device to the host in one go, and wait for the current stream."""
    sizes = [tensor.numel() for tensor in tensors]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    if flat.device.type == "cuda":
        there = torch.empty(flat.shape, dtype=flat.dtype, device="cpu", pin_memory=True)
        there.copy_(flat, non_blocking=True)
        torch.cuda.current_stream(flat.device).synchronize()
        flat = there
    words = flat.numpy().copy()
    parts = np.split(words, np.cumsum(sizes)[:-1])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


class Number:
    """A number that a device is still to make; see `Later`."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Keep a copy, which nothing changes any more."""
        self._copy = tensor.detach().clone()
        self._after = Moment(tensor.device)

    def get(self) -> float:
        """Wait for it, on a stream of its own: not for what the device was given since."""
        with beside(self._copy.device, self._after):
            return float(self._copy)


def to_device(table: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Copy a table to a device; the host does not wait."""
    there = torch.from_numpy(table.reshape(-1))
    if device.type != "cuda":
        return there.clone()
    return there.pin_memory().to(device, non_blocking=True)
