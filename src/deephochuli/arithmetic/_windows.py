"""The windows of a convolution as matrices, a bounded part at a time."""

# torch's unflatten carries no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Elements of an unfolded part: 64 MiB of binary32.
_PART = 1 << 24


@dataclass(frozen=True)
class Geometry:
    """Where the windows of a convolution lie; one number for each spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def extent(self, d: int) -> int:
        """Elements that a window spans."""
        return self.dilation[d] * (self.kernel[d] - 1) + 1

    def outputs(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many windows there are."""
        return tuple(
            (n + 2 * self.padding[d] - self.extent(d)) // self.stride[d] + 1
            for d, n in enumerate(sizes)
        )


def padded(x: Tensor, amounts: Sequence[tuple[int, int]]) -> Tensor:
    """Zeros before and behind each spatial dimension; less than none cuts off."""
    flat = [amount for pair in reversed(amounts) for amount in pair]
    return functional.pad(x, flat) if any(flat) else x


def windows(x: Tensor, geometry: Geometry) -> Tensor:
    """A view (N, C, *kernel, *outputs) of what each window sees."""
    outputs = geometry.outputs(x.shape[2:])
    x = padded(x, [(p, p) for p in geometry.padding]).contiguous()
    steps = x.stride()
    inner = [s * d for s, d in zip(steps[2:], geometry.dilation, strict=True)]
    outer = [s * d for s, d in zip(steps[2:], geometry.stride, strict=True)]
    shape = (*x.shape[:2], *geometry.kernel, *outputs)
    return x.as_strided(shape, (*steps[:2], *inner, *outer))


def by_image(view: Tensor, groups: int) -> Iterator[tuple[slice, Tensor]]:
    """Parts of some images: (groups, channel and kernel, image and output)."""
    per_image = max(1, math.prod(view.shape[1:]))
    n = max(1, _PART // per_image)
    for start in range(0, view.shape[0], n):
        part = view[start : start + n]
        yield slice(start, start + n), _columns(part, groups)


def by_channel(view: Tensor, groups: int) -> Iterator[tuple[slice, Tensor]]:
    """Parts of some channels of each group: (groups, channel and kernel, image and output)."""
    per_group = view.shape[1] // groups
    one = max(1, math.prod(view.shape) // max(1, per_group))
    n = max(1, _PART // one)
    split = view.unflatten(1, (groups, per_group))
    for start in range(0, per_group, n):
        part = split[:, :, start : start + n].flatten(1, 2)
        yield slice(start, start + n), _columns(part, groups)


def _columns(part: Tensor, groups: int) -> Tensor:
    d = (part.dim() - 2) // 2
    split = part.unflatten(1, (groups, part.shape[1] // groups))
    kernel, outputs = range(3, 3 + d), range(3 + d, 3 + 2 * d)
    rows = math.prod(split.shape[2 : 3 + d])
    columns = math.prod(split.shape[i] for i in (0, *outputs))
    return split.permute(1, 2, *kernel, 0, *outputs).reshape(groups, rows, columns)


def flipped(weight: Tensor, groups: int) -> Tensor:
    """Weights with which a convolution's gradient by its input is a convolution again."""
    d = weight.dim() - 2
    split = weight.unflatten(0, (groups, weight.shape[0] // groups)).transpose(1, 2)
    return split.flatten(0, 1).flip(list(range(2, 2 + d)))


def spread(x: Tensor, stride: Sequence[int]) -> Tensor:
    """Zeros between the elements of the spatial dimensions."""
    if all(s == 1 for s in stride):
        return x
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    out = torch.zeros(*x.shape[:2], *sizes, dtype=x.dtype, device=x.device)
    out[(..., *(slice(None, None, s) for s in stride))] = x
    return out
