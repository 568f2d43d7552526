"""Tensors of any strides, for back ends that know dense ones only."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from deephochuli.kernels.rounding._constants import can_be_moved, has_cards, has_lattice
from deephochuli.kernels.rounding._contract import (
    GROUP,
    BlockRounder,
    BlockScale,
    Rounder,
    RoundingPlan,
    StochasticKey,
)

if TYPE_CHECKING:
    import torch


def round_into(
    source: torch.Tensor,
    target: torch.Tensor,
    plan: RoundingPlan,
    key: StochasticKey | None,
    rounder: Rounder,
) -> None:
    """See the function of the package."""
    if source.numel() == 0:
        return
    in_order = key is not None  # random bits go by the logical order, which must be that of memory
    if _is_run(target, in_order) and _is_plain(source) and _lie_alike(source, target):
        # Two runs of one length: they are the same, overlap in part, or are apart.
        if 0 < abs(source.data_ptr() - target.data_ptr()) < target.nbytes:
            source = source.clone()
        rounder.round(source, target, plan, key)
        return
    source, target = source.detach(), target.detach()
    work = target
    if not _is_run(target, in_order) or _overlaps(source, target):
        work = target.new_empty(target.shape)
    work.copy_(source)  # takes care of a pending conjugation too
    rounder.round(work, work, plan, key)
    if work is not target:
        target.copy_(work)


def round_blocks_into(
    source: torch.Tensor,
    target: torch.Tensor,
    plan: RoundingPlan,
    block: int,
    key: StochasticKey | None,
    scale: BlockScale | None,
    rounder: Rounder,
) -> bool:
    """See the function of the package."""
    if not _knows(plan, block, scale) or not _is_plain(source) or not _rounds_blocks(rounder):
        return False
    return rounder.round_blocks(source, target, plan, block, key, scale)


def _rounds_blocks(rounder: Rounder) -> TypeGuard[BlockRounder]:
    """Whether a back end is a `BlockRounder`; asking the protocol itself takes microseconds."""
    return hasattr(rounder, "round_blocks")


@functools.lru_cache(maxsize=64)
def _knows(plan: RoundingPlan, block: int, scale: BlockScale | None) -> bool:
    """Whether compiled code takes such blocks: of whole vectors, and whole blocks a group."""
    if block % 16 or GROUP % block:
        return False
    if scale is None:
        return can_be_moved(plan.fmt)
    is_single = float(np.float32(scale.unit)) == scale.unit
    return has_lattice(plan.fmt) and has_cards(scale.plan.fmt, scale.unit) and is_single


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill one run of memory, in whatever order of the dimensions."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _lie_alike(source: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether elements follow one another in the same order."""
    if source.is_contiguous() and target.is_contiguous():  # asked first: it takes less time
        return True
    return source.stride() == target.stride()


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether the values are what lies in memory, and not their negatives."""
    return not tensor.is_neg()


def _is_run(tensor: torch.Tensor, in_order: bool) -> bool:
    if not _is_plain(tensor):
        return False
    return tensor.is_contiguous() if in_order else is_dense(tensor)


def _overlaps(source: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether two tensors share memory without being the same elements in the same places."""
    ours, theirs = source.untyped_storage(), target.untyped_storage()
    if ours.data_ptr() != theirs.data_ptr():
        return False
    if source.data_ptr() == target.data_ptr() and source.stride() == target.stride():
        return False
    first, second = sorted((source, target), key=lambda tensor: tensor.data_ptr())
    return not is_dense(first) or first.data_ptr() + first.nbytes > second.data_ptr()
