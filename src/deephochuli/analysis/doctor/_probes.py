"""Measuring arithmetic: computations whose exact result tells how they were carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

_SIZE: Final = 64
_DEEPEST: Final = 23
"""Bits behind the leading one of FP32."""
_POOL_ELEMENTS: Final = 1 << 20
"""Enough for torch to divide the work among all threads of its pool."""

NAMES: Final = {
    24: "FP32",
    16: "two BF16 parts",
    11: "TF32 (or FP16)",
    8: "BF16",
}


@dataclass(frozen=True, slots=True)
class Flushed:
    """What became of subnormal numbers.

    Attributes:
        here: Whether the calling thread turns them into zero.
        share: Share of the elements of a large tensor that became zero; between 0 and 1 when some
            threads of the pool do so and others do not.
    """

    here: bool
    share: float


def precision_of(multiply: Callable[[Tensor, Tensor], Tensor], device: str) -> int:
    """Measure how many significand bits of FP32 inputs a matrix product uses.

    Numerics:
        Row k of a diagonal matrix holds 1 + 2^-k, k = 1 to 23. Times the identity that is exact in
        any accumulator, so the deepest k that comes out again is the last bit of the inputs that
        was used.
    """
    depths = torch.arange(1, _DEEPEST + 1, device=device)
    values = 1 + torch.exp2(-depths.to(torch.float64))
    left = torch.zeros(_SIZE, _SIZE, dtype=torch.float32, device=device)
    left[range(_DEEPEST), range(_DEEPEST)] = values.to(torch.float32)
    identity = torch.eye(_SIZE, dtype=torch.float32, device=device)
    result = _without_autocast(multiply, left, identity)
    survived = result.diagonal()[:_DEEPEST].double() == values
    return int(survived.sum()) + 1


def by_matrix(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices."""
    return left @ right


def by_layer(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices as a linear layer does."""
    return F.linear(left, right.T.contiguous(), left.new_zeros(len(right)))


def by_convolution(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices by a convolution: a pixel for each row, a channel for each column."""
    image = left.T.reshape(1, _SIZE, 8, 8).contiguous()
    weight = F.pad(right.T.reshape(_SIZE, _SIZE, 1, 1), (1, 1, 1, 1))
    return F.conv2d(image, weight, padding=1).reshape(_SIZE, _SIZE).T


def keeps_small_addends(dtype: torch.dtype, device: str) -> bool:
    """Measure whether a matrix product of a narrow format is summed in a wider one.

    Numerics:
        2^p absorbs 1 in a format of precision p, however often; in FP32 eight ones are added.
    """
    big, expected = _absorbing(dtype)
    row = torch.zeros(_SIZE, _SIZE, dtype=dtype, device=device)
    row[:, 0] = big
    row[:, 1:9] = 1
    result = _without_autocast(by_matrix, row, torch.ones_like(row))
    return result[0, 0].item() == expected


def sums_wide(dtype: torch.dtype, device: str) -> bool:
    """Measure whether ``sum`` of a narrow format adds up in a wider one."""
    big, expected = _absorbing(dtype)
    numbers = torch.ones(9, dtype=dtype, device=device)
    numbers[0] = big
    return numbers.sum().item() == expected


def _absorbing(dtype: torch.dtype) -> tuple[float, float]:
    """A number that absorbs 1, and that number plus eight, which is a number of the format too."""
    big = 2.0 / torch.finfo(dtype).eps
    return big, big + 8


def flushed(n_threads: int) -> Flushed:
    """Measure whether subnormal numbers survive, on this thread and in torch's pool."""
    smallest = torch.finfo(torch.float32).smallest_normal
    one = torch.tensor([smallest], dtype=torch.float32, device="cpu")
    here = (one * 0.5).item() == 0.0
    if n_threads < 2:
        return Flushed(here, float(here))
    many = torch.full((_POOL_ELEMENTS,), smallest, dtype=torch.float32, device="cpu")
    return Flushed(here, int((many * 0.5 == 0).sum()) / _POOL_ELEMENTS)


def _without_autocast(
    multiply: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor
) -> Tensor:
    """Compute as plain FP32 code does, also when somebody asks within an autocast region."""
    with torch.no_grad(), torch.autocast(left.device.type, enabled=False):
        return multiply(left, right)
