"""The three sums of a convolution: of its result, and of both gradients.

A convolution is a matrix product with its unfolded input, of which a bounded part exists at a
time. Operands are rounded already, and results are not yet.
"""

# torch's own operators carry no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._operands import raw_product
from deephochuli.arithmetic._sums import SumKind
from deephochuli.arithmetic._windows import (
    Geometry,
    by_channel,
    by_image,
    flipped,
    padded,
    spread,
    windows,
)


def sum_forward(
    x: Tensor, weight: Tensor, geometry: Geometry, groups: int, arithmetic: Arithmetic
) -> Tensor:
    """Sums by channel, kernel row, kernel column; (N, O, *outputs)."""
    if arithmetic.sums.kind is SumKind.NATIVE:
        n = x.dim() - 2
        how = geometry.stride, geometry.padding, geometry.dilation
        return torch.convolution(x, weight, None, *how, False, [0] * n, groups)
    view = windows(x, geometry)
    outputs = view.shape[2 + len(geometry.kernel) :]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    parts: list[Tensor] = []
    for images, columns in by_image(view, groups):
        n = view[images].shape[0]
        part = raw_product(matrix, columns, arithmetic)
        parts.append(part.reshape(weight.shape[0], n, *outputs).movedim(1, 0))
    return torch.cat(parts) if parts else x.new_zeros(0, weight.shape[0], *outputs)


def sum_by_input(
    grad: Tensor,
    weight: Tensor,
    sizes: tuple[int, ...],
    geometry: Geometry,
    groups: int,
    arithmetic: Arithmetic,
) -> Tensor:
    """Sums by output channel, kernel row and column, with zeros where a stride left something out.

    The gradient by the input is a convolution of the spread gradient with flipped weights.
    """
    if arithmetic.sums.kind is SumKind.NATIVE:
        like = grad.new_zeros(grad.shape[0], weight.shape[1] * groups, *sizes)
        return _native_backward(grad, like, weight, geometry, groups, 0)
    wide = spread(grad, geometry.stride)
    amounts: list[tuple[int, int]] = []
    for d, size in enumerate(sizes):
        before = geometry.extent(d) - 1 - geometry.padding[d]
        after = size + geometry.extent(d) - 1 - wide.shape[2 + d] - before
        amounts.append((before, after))
    ones = (1,) * len(sizes)
    plain = Geometry(geometry.kernel, ones, (0,) * len(sizes), geometry.dilation)
    return sum_forward(padded(wide, amounts), flipped(weight, groups), plain, groups, arithmetic)


def sum_by_weight(
    grad: Tensor,
    x: Tensor,
    shape: tuple[int, ...],
    geometry: Geometry,
    groups: int,
    arithmetic: Arithmetic,
) -> Tensor:
    """Sums by image, output row, output column; of the shape of the weight."""
    if arithmetic.sums.kind is SumKind.NATIVE:
        return _native_backward(grad, x, grad.new_zeros(shape), geometry, groups, 1)
    outer = grad.movedim(0, 1).reshape(groups, shape[0] // groups, -1)
    view = _used(windows(x, geometry), grad)
    out = grad.new_zeros(groups, shape[0] // groups, *shape[1:])
    for channels, columns in by_channel(view, groups):
        part = raw_product(outer, columns.mT, arithmetic).to(out.dtype)
        out[:, :, channels] = part.reshape(out[:, :, channels].shape)
    return out.reshape(shape)


def _used(view: Tensor, grad: Tensor) -> Tensor:
    """Windows that there is a gradient for; a transposed convolution may have more."""
    d = grad.dim() - 2
    return view[(..., *(slice(n) for n in grad.shape[2:]))] if d else view


def _native_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int, which: int
) -> Tensor:
    n = x.dim() - 2
    mask = [which == 0, which == 1, False]
    how = [list(each) for each in (geometry.stride, geometry.padding, geometry.dilation)]
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, *how, False, [0] * n, groups, mask
    )[which]
