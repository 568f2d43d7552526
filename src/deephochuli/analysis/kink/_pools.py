"""Max pooling: equally large elements of a window, and which of them gets the gradient."""

# Operators of torch are looked up by name.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

aten: Any = torch.ops.aten

Choice = Literal["first", "last", "share"]
"""Which of several largest elements is given the gradient: torch's, the last one, or all alike."""

POOLS: Final[dict[Any, int]] = {
    aten.max_pool2d_with_indices: 2,
    aten.max_pool3d_with_indices: 3,
}
"""Operators of the forward, and over how many dimensions they pool."""

POOLS_BACKWARD: Final[dict[Any, int]] = {
    aten.max_pool2d_with_indices_backward: 2,
    aten.max_pool3d_with_indices_backward: 3,
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """Geometry of a pooling, one number for each dimension."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


def pooling_of(n_dims: int, arguments: tuple[Any, ...]) -> Pooling:
    """The geometry from an operator's arguments after the input, defaults filled in."""
    size = _each(arguments[0], n_dims)
    given: list[Any] = [(), 0, 1]
    given[: len(arguments) - 1] = arguments[1:4]
    stride = _each(given[0], n_dims) if given[0] != () and given[0] != [] else size
    return Pooling(size, stride, _each(given[1], n_dims), _each(given[2], n_dims))


def _each(value: Any, n_dims: int) -> tuple[int, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * n_dims if len(numbers) == 1 else numbers


def ties_of(x: Tensor, pooling: Pooling, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The elements of each window that are its largest, in windows with more than one of them.

    Args:
        x: Input of the pooling.
        pooling: Its geometry.
        shape: Of its output: also windows that hang over the end are among them.

    Returns:
        Two tensors with a row for each tied window and a column for each element of a window:
        whether the element is a largest one, and its flat index in the pooled dimensions of `x`.
        The rows belong to the windows that `tied_windows` names, in the same order.
    """
    windows, index = _windows(x, pooling, shape)
    largest = windows == windows.amax(-1, keepdim=True)
    tied = tied_windows(largest)
    return largest.flatten(0, -2)[tied], index.expand_as(windows).flatten(0, -2)[tied]


def tied_windows(largest: Tensor) -> Tensor:
    """Flat numbers of the windows with more than one largest element."""
    return (largest.sum(-1) > 1).flatten().nonzero().squeeze(1)


def _windows(x: Tensor, pooling: Pooling, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Elements of all windows in a last dimension, and their flat indices; -inf beyond the ends."""
    n_dims = len(pooling.size)
    spatial = x.shape[-n_dims:]
    index = torch.arange(spatial.numel(), device=x.device).view(spatial)
    return _unfolded(x, pooling, shape, -torch.inf), _unfolded(index, pooling, shape, -1)


def _unfolded(x: Tensor, pooling: Pooling, shape: torch.Size, fill: float) -> Tensor:
    n_dims = len(pooling.size)
    pad: list[int] = []
    for i in reversed(range(n_dims)):
        reach = (shape[i - n_dims] - 1) * pooling.stride[i]
        reach += (pooling.size[i] - 1) * pooling.dilation[i] + 1
        before = pooling.padding[i]
        pad += [before, max(0, reach - before - x.shape[i - n_dims])]
    x = functional.pad(x, pad, value=fill)
    first = x.dim() - n_dims
    for i in range(n_dims):
        span = (pooling.size[i] - 1) * pooling.dilation[i] + 1
        x = x.unfold(first + i, span, pooling.stride[i])[..., :: pooling.dilation[i]]
        x = x.narrow(first + i, 0, shape[i - n_dims])
    return x.flatten(-n_dims)


def regraded(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Choice) -> Tensor:
    """The backward of a pooling with another choice among the largest elements of a window.

    Numerics:
        Windows without a tie are left to torch's operator. "share" divides the gradient of a window
        by the number of its largest elements, rounded once in its dtype.
    """
    grad, x, indices = args[0], args[1], args[7]
    n_dims = POOLS_BACKWARD[func.overloadpacket]
    pooling = pooling_of(n_dims, args[2:6])
    windows, places = _windows(x, pooling, grad.shape)
    largest = windows == windows.amax(-1, keepdim=True)
    tied = tied_windows(largest)
    if not tied.numel():
        return func(*args, **kwargs)
    chosen = largest.flatten(0, -2)[tied]
    where = places.expand_as(windows).flatten(0, -2)[tied]
    if choice == "last":
        last = chosen.shape[1] - 1 - chosen.flip(1).int().argmax(1)
        moved = indices.clone().flatten()
        moved[tied] = where.gather(1, last[:, None]).squeeze(1)
        return func(*args[:7], moved.view_as(indices), **kwargs)
    return _shared(func, args, kwargs, tied, chosen, where)


def _shared(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tied: Tensor,
    chosen: Tensor,
    where: Tensor,
) -> Tensor:
    grad, x = args[0], args[1]
    n_dims = POOLS_BACKWARD[func.overloadpacket]
    alone = grad.clone().flatten()
    parts = alone[tied] / chosen.sum(1).to(grad.dtype)
    alone[tied] = 0
    out = func(alone.view_as(grad), *args[1:], **kwargs)
    plane = tied // grad.shape[-n_dims:].numel()
    flat = plane[:, None] * x.shape[-n_dims:].numel() + where
    total = out.contiguous().flatten()
    total.index_add_(0, flat[chosen], parts[:, None].expand_as(flat)[chosen])
    return total.view_as(out)
