"""Rounding of tensors to any format: one contract, several back ends."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import TYPE_CHECKING

from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels.rounding import _layout
from deephochuli.kernels.rounding._contract import (
    CARRIERS,
    GROUP,
    LANES,
    N_RANDOM_BITS,
    BlockScale,
    Carrier,
    Rounder,
    RoundingPlan,
    StochasticKey,
    carrier_of,
    holds,
    plan_for,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "CARRIERS",
    "GROUP",
    "LANES",
    "N_RANDOM_BITS",
    "BlockScale",
    "Carrier",
    "Rounder",
    "RoundingPlan",
    "StochasticKey",
    "carrier_of",
    "cpu_rounder",
    "cuda_rounder",
    "holds",
    "plan_for",
    "reference_rounder",
    "round_blocks_into",
    "round_into",
    "rounder_for",
]


@functools.cache
def reference_rounder() -> Rounder:
    """The plain-torch back end that defines every result."""
    from deephochuli.kernels.rounding._reference import ReferenceRounder

    return ReferenceRounder()


@functools.cache
def cpu_rounder() -> Rounder:
    """The compiled CPU back end; the torch reference, with one warning, without Numba."""
    if not _has("numba"):
        return reference_rounder()
    from deephochuli.kernels.rounding._cpu import CpuRounder

    return CpuRounder()


@functools.cache
def cuda_rounder() -> Rounder:
    """The compiled GPU back end; the torch reference, with one warning, without Triton."""
    if not _has("triton"):
        return reference_rounder()
    from deephochuli.kernels.rounding._cuda import CudaRounder

    return CudaRounder()


def rounder_for(device: torch.device) -> Rounder:
    """The fastest back end for tensors on a device."""
    if device.type == "cpu":
        return cpu_rounder()
    return cuda_rounder() if device.type == "cuda" else reference_rounder()


def round_into(
    source: torch.Tensor,
    target: torch.Tensor,
    plan: RoundingPlan,
    key: StochasticKey | None = None,
    rounder: Rounder | None = None,
) -> None:
    """Round the elements of a tensor into another one of the same shape, type and device.

    The two may have any strides, and may be one tensor; where they overlap in another way the
    result is as if they did not.

    Args:
        source: What is rounded.
        target: Where the result goes; no two of its elements share memory.
        plan: Where to and how, for the carrier of the type.
        key: For stochastic rounding, whose random bits follow the logical order of elements.
        rounder: Back end; the fastest one for the device when not given.
    """
    _layout.round_into(source, target, plan, key, rounder or rounder_for(source.device))


def round_blocks_into(
    source: torch.Tensor,
    target: torch.Tensor,
    plan: RoundingPlan,
    block: int,
    key: StochasticKey | None = None,
    scale: BlockScale | None = None,
) -> bool:
    """Round blocks of elements that share a scale, in one pass, where that is exact.

    The scale of a block is 2^(floor(log2 of its largest magnitude) - emax), or that magnitude over
    the largest value and a unit, rounded. Compiled code for CPUs does this, for float32 and
    bfloat16, for formats that saturate; with rounded scales for float32 and formats of up to eight
    magnitudes, like E2M1. The mode must not depend on how close to zero a number is.

    Args:
        source: Contiguous tensor whose elements are whole blocks, one after the other.
        target: Contiguous tensor like it, another one.
        plan: For the elements, in binary32, with an overflow that saturates.
        block: Elements of a block.
        key: For stochastic rounding.
        scale: Of blocks; None: a power of two.

    Returns:
        Whether it was done. False where no compiled code serves this, among that scales that are
        not all from 2^-60 to 2^60; where a block is neither zero nor has a largest magnitude from
        2^-60 up to 2^104; and with rounded scales, where it holds an infinity or a NaN. Then the
        target holds nothing.
    """
    rounder = rounder_for(source.device)
    return _layout.round_blocks_into(source, target, plan, block, key, scale, rounder)


def _has(package: str) -> bool:
    """Whether a package can be imported; says so where it cannot."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        warnings.warn(
            f"{package} cannot be imported ({error}): rounding in plain torch, which is much "
            f"slower. Install it with: pip install {package}",
            DeepHochuliWarning,
            stacklevel=3,
        )
        return False
    return True
