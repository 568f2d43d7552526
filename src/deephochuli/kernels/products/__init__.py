"""Sums of products under a plan: one contract, several back ends.

The torch reference defines every result. Numba serves on CPUs; where it cannot be imported, and on
other devices, the reference does.
"""

from __future__ import annotations

import functools
import importlib
import warnings

import torch

from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels.products._plan import ProductBackend, ProductPlan
from deephochuli.kernels.products._reference import ReferenceProducts
from deephochuli.kernels.products._torch_rounding import add_rounded, round_values

__all__ = [
    "ProductBackend",
    "ProductPlan",
    "add_rounded",
    "cpu_products",
    "multiply",
    "reference_products",
    "round_values",
]


def reference_products() -> ProductBackend:
    """The plain-torch back end that defines every result."""
    return ReferenceProducts()


@functools.cache
def cpu_products() -> ProductBackend:
    """The compiled CPU back end; the torch reference, with one warning, without Numba."""
    try:
        importlib.import_module("numba")
    except ImportError as error:
        warnings.warn(
            f"Numba cannot be imported ({error}): forming sums of products in plain torch, which "
            "is much slower. Install it with: pip install numba",
            DeepHochuliWarning,
            stacklevel=2,
        )
        return reference_products()
    from deephochuli.kernels.products._cpu import CpuProducts

    return CpuProducts()


def multiply(
    plan: ProductPlan,
    a: torch.Tensor,
    b: torch.Tensor,
    initial: torch.Tensor | None = None,
) -> torch.Tensor:
    """Form all sums of a batch of matrix products on the device that holds them.

    See `ProductBackend.multiply`, whose arguments these are. Nothing is recorded for autograd.
    """
    with torch.no_grad():
        if plan.swaps:
            a, b = _swapped(a, b)
        elif plan.pairs:
            a, b = _paired(a, b, plan.chunk or 4)
        return _backend_for(a.device).multiply(plan, a, b, initial)


def _backend_for(device: torch.device) -> ProductBackend:
    return cpu_products() if device.type == "cpu" else reference_products()


def _swapped(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each two neighbouring k the second first."""
    k = a.shape[2]
    order = torch.arange(k, device=a.device)
    order = torch.where(order < k - k % 2, order ^ 1, order)
    return a[:, :, order], b[:, order]


def _paired(a: torch.Tensor, b: torch.Tensor, chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each chunk the first, third, fifth ... pair of neighbours, then the others."""
    missing = -a.shape[2] % chunk
    a = torch.nn.functional.pad(a, (0, missing))
    b = torch.nn.functional.pad(b, (0, 0, 0, missing))
    k = torch.arange(a.shape[2], device=a.device).reshape(-1, chunk // 4, 2, 2)
    order = k.transpose(1, 2).reshape(-1)
    return a[:, :, order], b[:, order]
