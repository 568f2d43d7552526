"""Launching the Triton kernels that count; under `TRITON_INTERPRET=1` they run on a CPU."""

# Triton's kernels carry no types; everything that leaves this module does.
# pyright: basic

from __future__ import annotations

import torch

from deephochuli.kernels import _cuda_kernels as device_code
from deephochuli.kernels._counter import Channels, Tables

_PART = device_code.PART.value


class TritonCounter:
    """Counting by Triton; see `Counter`."""

    name = "triton"
    part = _PART

    def count(
        self,
        words: torch.Tensor,
        place: int,
        tensor: torch.Tensor,
        kind: int,
        table: torch.Tensor,
        channels: Channels | None,
    ) -> None:
        """Launch one kernel, and another one for channels."""
        n, at = tensor.numel(), tensor.data_ptr()
        args = words, place, at, n, table.data_ptr(), kind
        _launch(device_code.count_one, (-(-n // _PART),), tensor.device, *args)
        if channels is None:
            return
        n_channels, inner = channels.n_channels, channels.inner
        counts = channels.counts[channels.start :]
        per_channel = n // n_channels
        if inner == 1 and n_channels > 1:
            grid = -(-n_channels // 64), -(-per_channel // 1024)
            args = counts, at, n, n_channels, table.data_ptr(), kind, 16
            _launch(device_code.channel_of_columns, grid, tensor.device, *args)
        else:
            grid = n_channels, -(-per_channel // _PART)
            args = counts, at, n, inner, n_channels, table.data_ptr(), kind
            _launch(device_code.channel_of_planes, grid, tensor.device, *args)

    def count_many(self, tables: Tables) -> None:
        """Launch one kernel for all tensors."""
        grid = (tables.n_parts,)
        args = tables.rows, tables.jobs, tables.parts, tables.table.data_ptr(), tables.kind
        _launch(device_code.count_many, grid, tables.rows.device, *args)

    def count_updates(self, tables: Tables, extras: torch.Tensor, *, has_gradient: bool) -> None:
        """Launch one kernel for all optimizer steps."""
        grid = (tables.n_parts,)
        args = tables.jobs, tables.parts, tables.table.data_ptr(), tables.kind, has_gradient
        _launch(device_code.count_updates, grid, tables.rows.device, tables.rows, extras, *args)


def _launch(kernel: object, grid: tuple[int, ...], device: torch.device, *args: object) -> None:
    """Launch a kernel on the device's current stream."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            kernel[grid](*args)  # pyright: ignore[reportIndexIssue]
    else:
        kernel[grid](*args)  # pyright: ignore[reportIndexIssue]
