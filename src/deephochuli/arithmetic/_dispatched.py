"""Operators of torch that form sums of products, each computed by an arithmetic."""

# Operators and the nodes of the autograd graph are objects that torch gives no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._convolution import (
    convolution,
    convolution_grad_input,
    convolution_grad_weight,
)
from deephochuli.arithmetic._operators import aten
from deephochuli.arithmetic._products import linear, product, sum_as

Arguments = tuple[Any, ...]
Options = dict[str, Any]
Compute = Callable[[Any, Arguments, Options, Arithmetic, Any], Any]
"""Operator, arguments, options, arithmetic, and the node that is worked backwards, if one is."""


def _product(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any
) -> Tensor:
    """``mm``, ``bmm``, ``mv``, ``dot``."""
    a, b = args
    return product(a, b, arithmetic, gradients=_which_are_gradients(a, b, arithmetic, node))


def _product_and_sum(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any
) -> Tensor:
    """``addmm``, ``baddbmm``, ``addmv``: beta * bias + alpha * (a @ b)."""
    bias, a, b = args
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
    if beta == alpha == 1 and bias.dim() == 1 and b.dim() == 2:
        return linear(a, b.mT, bias, arithmetic)
    result = _product(func, (a, b), {}, arithmetic, node)
    result = result if alpha == 1 else result * alpha
    return result if beta == 0 else result + (bias if beta == 1 else bias * beta)


def _which_are_gradients(
    a: Tensor, b: Tensor, arithmetic: Arithmetic, node: Any
) -> tuple[bool, bool]:
    """Which operands of a product in the backward are gradients: those the forward did not keep.

    Asked only where gradients enter products in a format of their own.
    """
    if node is None or arithmetic.gradient_inputs is None:
        return False, False
    kept = {
        saved.untyped_storage().data_ptr()
        for name in dir(node)
        if name.startswith("_saved_") and isinstance(saved := getattr(node, name), Tensor)
    }
    first, second = (each.untyped_storage().data_ptr() not in kept for each in (a, b))
    return first, second


def _convolution(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any
) -> Tensor:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    return convolution(
        *(x, weight, bias, stride, padding, dilation, groups, arithmetic),
        transposed=transposed,
        output_padding=output_padding,
    )


def _convolution_backward(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any
) -> tuple[Tensor | None, ...]:
    grad, x, weight = args[:3]
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    how: Any = dict(zip(names, args[4:10], strict=True))
    wanted = args[10]
    over = [0, *range(2, grad.dim())]
    return (
        convolution_grad_input(grad, x, weight, arithmetic, **how) if wanted[0] else None,
        convolution_grad_weight(grad, x, weight, arithmetic, **how) if wanted[1] else None,
        sum_as(grad, arithmetic, dim=over) if wanted[2] else None,
    )


def _sum(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any) -> Tensor:
    padded: tuple[Any, ...] = (*args, *(None, False)[len(args) - 1 :])
    x, dim, keepdim = padded[:3]
    dtype = kwargs.get("dtype") or x.dtype
    if not arithmetic.sums.is_emulated or not dtype.is_floating_point:
        return func(*args, **kwargs)
    return sum_as(x.to(dtype), arithmetic, dim=dim or None, keepdim=keepdim)


def _mean(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, node: Any) -> Tensor:
    if not arithmetic.sums.is_emulated:
        return func(*args, **kwargs)
    total = _sum(func, args, kwargs, arithmetic, node)
    return total / (math.prod(args[0].shape) // max(1, math.prod(total.shape)))


PRODUCTS: dict[Any, Compute] = {
    aten.mm: _product,
    aten.bmm: _product,
    aten.mv: _product,
    aten.dot: _product,
    aten.addmm: _product_and_sum,
    aten.baddbmm: _product_and_sum,
    aten.addmv: _product_and_sum,
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.sum: _sum,
    aten.mean: _mean,
}
"""What forms sums of products, by operator."""
