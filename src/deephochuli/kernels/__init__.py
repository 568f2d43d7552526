"""Inner loops over tensors: one contract, several back ends.

``backend_for(device)`` picks the back end: Numba on a CPU, CUDA C++ or Triton on a GPU, plain torch
elsewhere and where these cannot be imported. Importing this package imports none of them: readers
of finished runs need the key and the merging only.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import TYPE_CHECKING, Any

from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels._contract import (
    Backend,
    BackendOfDevice,
    ChannelCounts,
    Later,
    Rows,
    RowsOfDevice,
    Summary,
    TensorJob,
    UpdateJob,
    UpdateSummary,
)
from deephochuli.kernels._key import (
    INFINITY,
    MAGNITUDE,
    N_KEYS,
    NAN,
    SIGN,
    binades_of,
    edge_of,
    edges_of,
    key_of,
)
from deephochuli.kernels._merge import largest, merge_counts, merge_summaries, smallest

if TYPE_CHECKING:
    import torch

__all__ = [
    "INFINITY",
    "MAGNITUDE",
    "NAN",
    "N_KEYS",
    "SIGN",
    "Backend",
    "BackendOfDevice",
    "ChannelCounts",
    "Later",
    "Rows",
    "RowsOfDevice",
    "Summary",
    "TensorJob",
    "UpdateJob",
    "UpdateSummary",
    "backend_for",
    "begin_number",
    "binades_of",
    "cpu_backend",
    "cuda_backend",
    "edge_of",
    "edges_of",
    "is_capturing",
    "is_supported",
    "key_of",
    "largest",
    "merge_counts",
    "merge_summaries",
    "reference_backend",
    "smallest",
]


def reference_backend() -> Backend:
    """The plain-torch back end that defines every result."""
    from deephochuli.kernels._reference import ReferenceBackend

    return ReferenceBackend()


@functools.cache
def cpu_backend() -> Backend:
    """The compiled CPU back end; the torch reference, with one warning, without Numba."""
    try:
        importlib.import_module("numba")
    except ImportError as error:
        warnings.warn(
            f"Numba cannot be imported ({error}): counting in plain torch, which is much slower. "
            "Install it with: pip install numba",
            DeepHochuliWarning,
            stacklevel=2,
        )
        return reference_backend()
    from deephochuli.kernels._cpu import CpuBackend

    return CpuBackend()


@functools.cache
def cuda_backend(device: torch.device) -> Backend:
    """The compiled back end of a GPU: in CUDA C++ where torch compiles that, else in Triton.

    Without either it is the torch reference, with one warning.
    """
    from deephochuli.kernels import _nvrtc_counter
    from deephochuli.kernels._cuda import CudaBackend

    reason = _nvrtc_counter.reason_against(device)
    if reason is None:
        return CudaBackend(device, _nvrtc_counter.NvrtcCounter(device))
    try:
        from deephochuli.kernels._triton_counter import TritonCounter
    except ImportError as error:
        warnings.warn(
            f"Triton cannot be imported ({error}): counting on {device} in plain torch, which is "
            "much slower. Install it with: pip install triton",
            DeepHochuliWarning,
            stacklevel=2,
        )
        return reference_backend()
    warnings.warn(
        f"The kernels in CUDA C++ cannot be used on {device} ({reason}): counting in Triton, which "
        "takes about fifty times as long. Record fewer steps (every=...), or see to that.",
        DeepHochuliWarning,
        stacklevel=2,
    )
    return CudaBackend(device, TritonCounter())


def backend_for(device: torch.device) -> Backend:
    """The fastest back end for tensors on a device."""
    if device.type == "cpu":
        return cpu_backend()
    return cuda_backend(device) if device.type == "cuda" else reference_backend()


def begin_number(tensor: torch.Tensor) -> Later[float]:
    """Keep a tensor of one element, to be asked for when its device should have made it."""
    return _module("_streams").Number(tensor)


def is_capturing(device: torch.device) -> bool:
    """Whether the current stream of a device records a graph instead of executing."""
    return _module("_streams").is_capturing(device)


def is_supported(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a type and a layout whose elements can be counted."""
    return _module("_layout").is_supported(tensor)


@functools.cache
def _module(name: str) -> Any:
    """A module that imports torch, once it is needed; these calls are many."""
    return importlib.import_module(f"deephochuli.kernels.{name}")
