"""What of a tensor lies on this rank."""

from __future__ import annotations

import sys
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

_PLAIN: Final = frozenset({Tensor, nn.Parameter})


def local_part(tensor: Tensor) -> Tensor | None:
    """Return the elements of a tensor that this rank holds.

    Args:
        tensor: Any tensor. Of a DTensor, which is spread over several ranks, it is the local part,
            read without any communication but the end of one that has begun.

    Returns:
        The tensor itself if it is on this rank alone. None for a DTensor of which each rank holds
        a summand: no element of it is there yet.
    """
    if type(tensor) in _PLAIN:
        return tensor
    part: Any = tensor
    spread = sys.modules.get("torch.distributed.tensor")  # without it there are no such tensors
    if spread is not None and isinstance(tensor, spread.DTensor):
        if any(placement.is_partial() for placement in part.placements):
            return None
        with torch.no_grad():
            part = part.to_local()
    wait = getattr(part, "trigger_wait", None)  # for a collective that is still under way
    return cast(Tensor, part if wait is None else wait())
