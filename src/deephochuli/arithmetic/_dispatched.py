"""Operators of torch that form sums of products, each computed by an arithmetic."""

from __future__ import annotations

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
from deephochuli.arithmetic._products import linear, matmul, sum_as

Arguments = tuple[Any, ...]
Options = dict[str, Any]
Compute = Callable[[Any, Arguments, Options, Arithmetic], Any]


def _product(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic) -> Tensor:
    """``mm``, ``bmm``, ``mv``, ``dot``."""
    return matmul(args[0], args[1], arithmetic)


def _product_and_sum(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic) -> Tensor:
    """``addmm``, ``baddbmm``, ``addmv``: beta * bias + alpha * (a @ b)."""
    bias, a, b = args
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
    if beta == alpha == 1 and bias.dim() == 1 and b.dim() == 2:
        return linear(a, b.mT, bias, arithmetic)
    product = matmul(a, b, arithmetic)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (bias if beta == 1 else bias * beta)


def _convolution(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic) -> Tensor:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    return convolution(
        *(x, weight, bias, stride, padding, dilation, groups, arithmetic),
        transposed=transposed,
        output_padding=output_padding,
    )


def _convolution_backward(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic
) -> tuple[Tensor | None, ...]:
    (
        grad,
        x,
        weight,
        bias_sizes,
        stride,
        padding,
        dilation,
        transposed,
        out_padding,
        groups,
        mask,
    ) = args
    how = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "transposed": transposed,
        "output_padding": out_padding,
    }
    over = [0, *range(2, grad.dim())]
    return (
        convolution_grad_input(grad, x, weight, arithmetic, **how) if mask[0] else None,
        convolution_grad_weight(grad, x, weight, arithmetic, **how) if mask[1] else None,
        sum_as(grad, arithmetic, dim=over) if mask[2] else None,
    )


def _sum(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic) -> Tensor:
    x, dim, keepdim = (*args, *(None, False)[len(args) - 1 :])[:3]
    if arithmetic.sums.kind == "native" or not x.is_floating_point():
        return func(*args, **kwargs)
    dtype = kwargs.get("dtype")
    return sum_as(x if dtype is None else x.to(dtype), arithmetic, dim=dim, keepdim=keepdim)


def _mean(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic) -> Tensor:
    if arithmetic.sums.kind == "native":
        return func(*args, **kwargs)
    total = _sum(func, args, kwargs, arithmetic)
    return total / max(1, args[0].numel() // max(1, total.numel()))


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
