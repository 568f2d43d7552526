"""Launching the CUDA C++ kernels of ``*.cu``, which NVRTC compiles when they are first used.

NVRTC and the way to it come with torch. Each combination of an element type and a way to read it is
a kernel of its own, compiled once for each process and device.
"""

# torch's way to the driver carries no types and is not public; `reason_against` asks for it.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false, reportUnknownArgumentType=false

from __future__ import annotations

import ctypes
import functools
import importlib.resources
from typing import Any

import torch

from deephochuli.kernels._counter import Channels, Tables
from deephochuli.kernels._device_rows import ROW_WORDS, TABLE8
from deephochuli.kernels._nvrtc import compile_kernel, load_kernel

SOURCES = "count.cu", "count_many.cu"
# These are also in count.cu.
THREADS = 256
MOST_SHARED_CHANNELS = 1024
WORD = 16  # bytes that a thread reads at once

PART = 1 << 16
BLOCKS_PER_PROCESSOR = 6  # whose counters fit into shared memory at once
LEAST = 1 << 13  # elements for which a block pays
LEAST_WITH_FAR_CHANNELS = 1 << 17
LEAST_CAPABILITY = (8, 0)


class _Job(ctypes.Structure):
    """`Job` of count.cu."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("data", "row", "counts", "table", "n", "inner", "n_channels", "columns")
    ]


class _Tables(ctypes.Structure):
    """`Tables` of count_many.cu."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("rows", "extras", "jobs", "parts", "table", "part")
    ]


@functools.cache
def _source() -> str:
    """Both files, one behind the other."""
    home = importlib.resources.files("deephochuli.kernels")
    return "\n".join(home.joinpath(name).read_text("utf-8") for name in SOURCES)


def reason_against(device: torch.device) -> str | None:
    """Why the kernels cannot be compiled for a device, or run there; None where they can."""
    if device.type != "cuda":
        return f"{device} is no GPU"
    if torch.version.hip:
        return "this torch is built for ROCm"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        return f"the GPU has compute capability {capability[0]}.{capability[1]}, and 8.0 is needed"
    try:
        NvrtcCounter(device).kernel("count_tensor<0, true, false>")
    except (RuntimeError, OSError, ImportError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


class NvrtcCounter:
    """Counting by CUDA C++; see `Counter`."""

    name = "nvrtc"
    part = PART

    def __init__(self, device: torch.device) -> None:
        """Count on `device`."""
        from torch.cuda import _utils

        self._index = _utils._get_device_index(device, optional=True)
        processors = int(torch.cuda.get_device_properties(self._index).multi_processor_count)
        self._most = BLOCKS_PER_PROCESSOR * processors
        self._launch_kernel = _utils._get_gpu_runtime_library().cuLaunchKernel
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        """The handle of a compiled kernel, by its name with the arguments of its template."""
        found = self._kernels.get(name)
        if found is None:
            major, minor = torch.cuda.get_device_capability(self._index)
            code, lowered = compile_kernel(_source(), name, f"sm_{major}{minor}")
            with torch.cuda.device(self._index):
                found = self._kernels[name] = load_kernel(code, lowered).func
        return found

    def count(
        self,
        words: torch.Tensor,
        place: int,
        tensor: torch.Tensor,
        kind: int,
        table: torch.Tensor,
        channels: Channels | None,
    ) -> None:
        """Launch one kernel, which counts channels as well."""
        n, address, width = tensor.numel(), tensor.data_ptr(), WORD // tensor.itemsize
        row = words.data_ptr() + 8 * ROW_WORDS * place
        job = _Job(address, row, 0, table.data_ptr(), n, 0, 0, 0)
        by_word = address % WORD == 0
        if channels is None:
            name = f"count_tensor<{kind}, {_text(by_word)}, false>"
            name = f"count_codes<{kind}>" if kind == TABLE8 else name
            self._launch(name, (self._blocks(n, LEAST), 1), job)
            return
        job.counts = channels.counts.data_ptr() + 8 * channels.start
        job.n_channels = channels.n_channels
        if channels.inner == 1:
            by_word = by_word and channels.n_channels % width == 0
            columns = channels.n_channels // (width if by_word else 1)
            self._count_columns(job, columns, f"count_tensor<{kind}, {_text(by_word)}, true>")
        else:
            job.inner = channels.inner
            by_word = by_word and channels.inner % width == 0
            per_channel = n // channels.n_channels // (width if by_word else 1)
            self._count_planes(job, per_channel, f"count_planes<{kind}, {_text(by_word)}>")

    def _count_columns(self, job: _Job, columns: int, name: str) -> None:
        """Launch at least as many threads as there are columns."""
        job.columns = columns
        is_near = job.n_channels <= MOST_SHARED_CHANNELS
        blocks = self._blocks(int(job.n), LEAST if is_near else LEAST_WITH_FAR_CHANNELS)
        blocks = max(blocks, -(-columns // THREADS))
        self._launch(name, (blocks, 1), job, shared=12 * job.n_channels if is_near else 0)

    def _count_planes(self, job: _Job, per_channel: int, name: str) -> None:
        """Share the blocks among the channels, or the channels among the blocks."""
        blocks = self._blocks(int(job.n), LEAST)
        across = max(1, min(blocks // job.n_channels, -(-per_channel // THREADS)))
        self._launch(name, (across, min(job.n_channels, blocks)), job)

    def _blocks(self, n: int, least: int) -> int:
        return max(1, min(self._most, -(-n // least)))

    def count_many(self, tables: Tables) -> None:
        """Launch one kernel for all tensors."""
        self._launch(f"count_many<{tables.kind}>", (tables.n_parts, 1), _of(tables, 0))

    def count_updates(self, tables: Tables, extras: torch.Tensor, *, has_gradient: bool) -> None:
        """Launch one kernel for all optimizer steps."""
        name = f"count_updates<{tables.kind}, {_text(has_gradient)}>"
        self._launch(name, (tables.n_parts, 1), _of(tables, extras.data_ptr()))

    def _launch(
        self, name: str, grid: tuple[int, int], argument: ctypes.Structure, shared: int = 0
    ) -> None:
        """Launch a kernel on the current stream of the device."""
        function = self.kernel(name)
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        stream = torch.cuda.current_stream(self._index).cuda_stream
        size = (*grid, 1, THREADS, 1, 1)
        if torch.cuda.current_device() == self._index:
            status = self._launch_kernel(
                function, *size, shared, ctypes.c_void_p(stream), arguments, None
            )
        else:
            with torch.cuda.device(self._index):
                status = self._launch_kernel(
                    function, *size, shared, ctypes.c_void_p(stream), arguments, None
                )
        if status:
            raise RuntimeError(
                f"Counting on cuda:{self._index} failed: {name}, CUDA error {status}"
            )


def _text(value: bool) -> str:
    return "true" if value else "false"


def _of(tables: Tables, extras: int) -> _Tables:
    addresses = (x.data_ptr() for x in (tables.jobs, tables.parts, tables.table))
    return _Tables(tables.rows.data_ptr(), extras, *addresses, PART)
