"""Operators with a kink: where it lies, and which slopes meet there."""

# Operators of torch are looked up by name, and nodes of the autograd graph have no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

aten: Any = torch.ops.aten

Arguments = tuple[Any, ...]

_CLAMPED: Final = ("ClampMinBackward0", "ClampBackward1")
_RELU: Final = (aten.relu, aten.relu_)
_LEAKY: Final = (aten.leaky_relu, aten.leaky_relu_)
_HARDTANH: Final = (aten.hardtanh, aten.hardtanh_)
_CLAMP: Final = (aten.clamp_min, aten.clamp_min_, aten.clamp, aten.clamp_)
_THRESHOLD: Final = (aten.threshold, aten.threshold_)
_PRELU: Final = (aten._prelu_kernel,)


def kinks_of(packet: Any, args: Arguments, kwargs: dict[str, Any]) -> tuple[float, ...] | None:
    """Where an operator of the forward has its kinks; None for one that has none.

    Example:
        >>> kinks_of(aten.relu, (torch.ones(1),), {}), kinks_of(aten.mul, (), {})
        ((0.0,), None)
    """
    if packet in _RELU or packet in _LEAKY or packet in _PRELU:
        return (0.0,)
    if packet in _HARDTANH:
        low, high = (
            float(_argument(args, kwargs, place, name, default))
            for place, name, default in ((1, "min_val", -1), (2, "max_val", 1))
        )
        return low, high
    if packet in _CLAMP:
        bounds = [_argument(args, kwargs, 1, "min", None), _argument(args, kwargs, 2, "max", None)]
        return tuple(float(each) for each in bounds if isinstance(each, int | float)) or None
    if packet in _THRESHOLD and args[1] == args[2]:  # any other threshold is a jump, not a kink
        return (float(args[1]),)
    return None


def _argument(args: Arguments, kwargs: dict[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def places_at(z: Tensor, kinks: tuple[float, ...]) -> Tensor:
    """Flat indices, in logical order, of the elements that lie exactly at a kink.

    Numerics:
        Compared for equality in the dtype of `z`; -0 equals 0; NaN equals nothing.
    """
    hit = z == kinks[0]
    for other in kinks[1:]:
        hit = hit | (z == other)
    return hit.flatten().nonzero().squeeze(1)


def hides_its_input(packet: Any) -> bool:
    """Whether the backward of an operator is given its result, in which kinks cannot be told."""
    return packet in _RELU or packet is aten.leaky_relu_ or packet in _THRESHOLD


def slopes_at(
    packet: Any, args: Arguments, node: Any
) -> tuple[float | Tensor, float, float] | None:
    """Slopes on the flat and on the steep side of a kink, and which torch takes; None for no kink.

    Args:
        packet: Operator of the backward.
        args: Its arguments.
        node: Node of the autograd graph that is being worked.

    Returns:
        Flat slope, steep slope, and torch's own share of the steep one: 0 or 1.
    """
    if packet in (aten.threshold_backward, aten.hardtanh_backward):
        return 0.0, 1.0, 0.0
    if packet is aten.leaky_relu_backward:
        return float(args[2]), 1.0, 0.0
    if packet is aten._prelu_kernel_backward:
        return args[2].detach(), 1.0, 0.0
    if packet is aten.where and node is not None and node.name() in _CLAMPED:
        return 0.0, 1.0, 1.0
    return None


def places_of_backward(packet: Any, args: Arguments, node: Any) -> Tensor | None:
    """Where the input lay at a kink, as far as the backward is given the input."""
    if packet is aten.hardtanh_backward:
        return places_at(args[1], (float(args[2]), float(args[3])))
    if packet is aten.leaky_relu_backward and not args[3]:
        return places_at(args[1], (0.0,))
    if packet is aten._prelu_kernel_backward:
        return places_at(args[1], (0.0,))
    if packet is aten.where:
        bounds = [getattr(node, name, None) for name in ("_saved_min", "_saved_max")]
        kinks = tuple(float(each) for each in bounds if isinstance(each, int | float))
        return places_at(node._saved_self, kinks) if kinks else None
    return None
