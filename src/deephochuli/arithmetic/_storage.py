"""Rounding of what an emulated operator leaves in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.arithmetic._round_to import StochasticKey, round_to
from deephochuli.formats import Format, Rounding, format_of_dtype

_CARRIERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Storage:
    """Rounds tensors, and draws a stream of random numbers of its own for each where asked to."""

    def __init__(self, seed: int) -> None:
        """Draw the random bits of stochastic rounding from `seed`."""
        self._seed = seed
        self._n_drawn = 0

    def rounded(self, tensor: Tensor, fmt: Format | None, rounding: Rounding | str) -> Tensor:
        """A tensor rounded to a format; the tensor itself where there is nothing to round."""
        if fmt is None or not needs_rounding(tensor, fmt):
            return tensor
        return round_to(tensor, fmt, rounding=rounding, key=self._key(rounding))

    def round_in_place(self, tensor: Tensor, fmt: Format, rounding: Rounding | str) -> None:
        """Round a tensor where it lies."""
        if needs_rounding(tensor, fmt):
            round_to(tensor, fmt, rounding=rounding, key=self._key(rounding), out=tensor)

    def _key(self, rounding: Rounding | str) -> StochasticKey | None:
        if Rounding(rounding) is not Rounding.STOCHASTIC:
            return None
        self._n_drawn += 1
        return StochasticKey(self._seed, stream=self._n_drawn)


def needs_rounding(tensor: Tensor, fmt: Format) -> bool:
    """Whether a tensor can hold numbers that a format does not have."""
    if tensor.dtype not in _CARRIERS or tensor.layout is not torch.strided or not tensor.numel():
        return False
    if tensor._is_zerotensor():  # the tangent of a constant: no memory, and nothing to round
        return False
    return not holds(fmt, format_of_dtype(str(tensor.dtype)))


def holds(fmt: Format, other: Format) -> bool:
    """Whether every finite number of `other` is one of `fmt`."""
    return (
        fmt.precision >= other.precision
        and fmt.smallest_subnormal <= other.smallest_subnormal
        and fmt.max_finite >= other.max_finite
        and fmt.is_signed >= other.is_signed
    )
