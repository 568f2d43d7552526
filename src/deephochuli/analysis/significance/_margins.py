"""Decisions between branches: what an operator compares, as a number whose sign decides."""

# Operators of torch are looked up by name.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

_aten: Any = torch.ops.aten

RELU: Final = "relu"
POOL: Final = "max-pool"
ARGMAX: Final = "argmax"

_KINKS: Final[dict[Any, float]] = {
    _aten.relu: 0.0,
    _aten.relu_: 0.0,
    _aten.leaky_relu: 0.0,
    _aten.leaky_relu_: 0.0,
    _aten._prelu_kernel: 0.0,
}
_CLAMPS: Final = (_aten.hardtanh, _aten.hardtanh_, _aten.clamp_min, _aten.clamp_min_)
_POOLS: Final = (_aten.max_pool2d_with_indices, _aten.max_pool3d_with_indices)


def margins_of(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, Tensor] | None:
    """Kind and margins of the decisions that an operator is about to make; None for none.

    A margin is what is compared with zero: the input of a ReLU relative to its kink. For max
    pooling it is the windows themselves, of which the caller follows the two largest elements.
    """
    packet = func.overloadpacket
    if packet in _KINKS:
        return RELU, args[0].detach()
    if packet in _CLAMPS and isinstance(low := _lower_bound(packet, args), int | float):
        return RELU, args[0].detach() - low
    if packet in _POOLS and args[0].is_floating_point():
        size, *rest = _pooling(packet, args, kwargs)
        if math.prod(size) > 1:
            return POOL, windows(args[0].detach(), size, *rest)
    return None


def _lower_bound(packet: Any, args: tuple[Any, ...]) -> Any:
    if packet in (_aten.hardtanh, _aten.hardtanh_):
        return args[1] if len(args) > 1 else -1.0
    return args[1] if len(args) > 1 else None


def _pooling(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[int], ...]:
    """Size, stride, padding and dilation of a pooling, one number for each dimension."""
    n_dims = 2 if packet is _aten.max_pool2d_with_indices else 3
    defaults: tuple[Any, ...] = ((), 0, 1)
    size = _each(args[1], n_dims)
    given = [args[i + 2] if len(args) > i + 2 else default for i, default in enumerate(defaults)]
    for i, name in enumerate(("stride", "padding", "dilation")):
        given[i] = kwargs.get(name, given[i])
    stride = _each(given[0], n_dims) if given[0] else size
    return size, stride, _each(given[1], n_dims), _each(given[2], n_dims)


def _each(value: Any, n_dims: int) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * n_dims if len(numbers) == 1 else numbers


def windows(
    x: Tensor, size: list[int], stride: list[int], padding: list[int], dilation: list[int]
) -> Tensor:
    """The windows of a pooling as a view, the elements of each in the last dimensions.

    Windows that hang over the end of the input (``ceil_mode``) are left out.
    """
    n_dims = len(size)
    pad = [width for each in reversed(padding) for width in (each, each)]
    if any(pad):
        x = functional.pad(x, pad, value=-torch.inf)
    first = x.dim() - n_dims
    for i in range(n_dims):
        x = _unfolded(x, first + i, size[i], stride[i], dilation[i])
    return x


def _unfolded(x: Tensor, dim: int, size: int, stride: int, dilation: int) -> Tensor:
    """Windows along one dimension, their elements in a new last one."""
    return x.unfold(dim, (size - 1) * dilation + 1, stride)[..., ::dilation]
