"""Inner loops over tensors: one contract, several back ends.

``backend_for(device)`` picks the back end: Numba on CPU, plain torch elsewhere and where Numba
cannot be imported. Importing this package imports neither torch nor Numba: readers of finished
runs need the key and the merging only.
"""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels._contract import Backend as Backend
from deephochuli.kernels._contract import ChannelCounts as ChannelCounts
from deephochuli.kernels._contract import Rows as Rows
from deephochuli.kernels._contract import Summary as Summary
from deephochuli.kernels._contract import TensorJob as TensorJob
from deephochuli.kernels._contract import UpdateJob as UpdateJob
from deephochuli.kernels._contract import UpdateSummary as UpdateSummary
from deephochuli.kernels._key import INFINITY as INFINITY
from deephochuli.kernels._key import MAGNITUDE as MAGNITUDE
from deephochuli.kernels._key import N_KEYS as N_KEYS
from deephochuli.kernels._key import NAN as NAN
from deephochuli.kernels._key import SIGN as SIGN
from deephochuli.kernels._key import binades_of as binades_of
from deephochuli.kernels._key import edge_of as edge_of
from deephochuli.kernels._key import edges_of as edges_of
from deephochuli.kernels._key import key_of as key_of
from deephochuli.kernels._merge import largest as largest
from deephochuli.kernels._merge import merge_counts as merge_counts
from deephochuli.kernels._merge import merge_summaries as merge_summaries
from deephochuli.kernels._merge import smallest as smallest

if TYPE_CHECKING:
    import torch


def reference_backend() -> Backend:
    """The plain-torch back end that defines every result."""
    from deephochuli.kernels._reference import ReferenceBackend

    return ReferenceBackend()


@functools.cache
def cpu_backend() -> Backend:
    """The compiled CPU back end; the torch reference, with one warning, without Numba."""
    try:
        from deephochuli.kernels._cpu import CpuBackend
    except ImportError as error:
        warnings.warn(
            f"Numba cannot be imported ({error}): counting in plain torch, about 20 times slower. "
            "Install it with: pip install numba",
            DeepHochuliWarning,
            stacklevel=2,
        )
        return reference_backend()
    return CpuBackend()


def backend_for(device: torch.device) -> Backend:
    """The fastest back end for tensors on a device."""
    return cpu_backend() if device.type == "cpu" else reference_backend()


def is_supported(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a type and a layout whose elements can be counted."""
    from deephochuli.kernels import _layout

    return _layout.is_supported(tensor)
