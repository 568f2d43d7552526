"""Operators of torch that form sums of products, each computed by an arithmetic."""

# Operators and the nodes of the autograd graph are objects that torch gives no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._convolution import (
    convolution,
    convolution_grad_input,
    convolution_grad_weight,
)
from deephochuli.arithmetic._operators import aten, tensors_in, written_arguments
from deephochuli.arithmetic._products import linear, product, sum_as

Arguments = tuple[Any, ...]
Options = dict[str, Any]
Kept = Collection[int] | None
"""Memory of operands that are no gradients, by its address; None where no operand is a gradient."""
Compute = Callable[[Any, Arguments, Options, Arithmetic, Kept], Any]


def _product(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Tensor:
    """``mm``, ``bmm``, ``mv``, ``dot``, ``vdot``."""
    a, b = args
    first, second = _which_are_gradients((a, b), kept)
    return product(a, b, arithmetic, gradients=(first, second))


def _product_and_sum(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Tensor:
    """``addmm``, ``baddbmm``, ``addmv``, ``addbmm``: beta * bias + alpha * (a @ b)."""
    bias, a, b = args
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
    if func.overloadpacket in _OVER_THE_BATCH:  # one sum over the batch, and the rows in it
        a, b = a.transpose(0, 1).flatten(1), b.flatten(0, 1)
    if beta == alpha == 1 and bias.dim() == 1 and b.dim() == 2:
        return linear(a, b.mT, bias, arithmetic)
    result = _product(func, (a, b), {}, arithmetic, kept)
    result = result if alpha == 1 else result * alpha
    return result if beta == 0 else result + (bias if beta == 1 else bias * beta)


_OVER_THE_BATCH = (aten.addbmm, aten.addbmm_)


def _trilinear(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Tensor:
    """A sum of products of three, as torch forms it: the first two, and then the third."""
    given, missing, summed = args[:3], args[3:6], args[6]
    flags = _which_are_gradients(given, kept)
    a, b, c = (_with_dims(x, dims) for x, dims in zip(given, missing, strict=True))
    at_once = [d for d in summed if d in missing[2]]
    pair = _summed_product(a, b, at_once, arithmetic, (flags[0], flags[1]))
    later = [d for d in summed if d not in at_once]
    out = _summed_product(pair, c, later, arithmetic, (flags[0] or flags[1], flags[2]))
    return out.squeeze(tuple(summed))


def _with_dims(x: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in sorted(dims):
        x = x.unsqueeze(dim)
    return x


def _summed_product(
    a: Tensor, b: Tensor, dims: Sequence[int], arithmetic: Arithmetic, gradients: tuple[bool, bool]
) -> Tensor:
    """The product of two tensors of one rank, summed over dimensions, which stay with size 1."""
    shape = torch.broadcast_shapes(a.shape, b.shape)
    kept = [d for d in range(a.dim()) if d not in dims]
    both = [d for d in kept if a.shape[d] == b.shape[d]]
    rows = [d for d in kept if d not in both and b.shape[d] == 1]
    columns = [d for d in kept if d not in both and d not in rows]
    size = {d: shape[d] for d in range(a.dim())}
    n_both, n_rows, n_columns, n = (
        math.prod(size[d] for d in each) for each in (both, rows, columns, dims)
    )
    order = (*both, *rows, *columns, *dims)
    full = [[size[d] if d in dims else x.shape[d] for d in range(a.dim())] for x in (a, b)]
    left = a.expand(full[0]).permute(order).reshape(n_both, n_rows, n)
    right = b.expand(full[1]).permute(order).reshape(n_both, n_columns, n)
    out = product(left, right.mT, arithmetic, gradients=gradients)
    wide = out.reshape([size[d] for d in (*both, *rows, *columns)] + [1] * len(dims))
    return wide.permute([order.index(d) for d in range(a.dim())])


def _which_are_gradients(operands: Sequence[Tensor], kept: Kept) -> list[bool]:
    if kept is None:
        return [False] * len(operands)
    return [each.untyped_storage().data_ptr() not in kept for each in operands]


def kept_for(node: Any) -> set[int]:
    """What the forward kept for a node of the autograd graph; other operands are gradients."""
    names = (name for name in dir(node) if name.startswith("_saved_"))
    kept = (getattr(node, name) for name in names)
    return {each.untyped_storage().data_ptr() for each in kept if isinstance(each, Tensor)}


def _convolution(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Tensor:
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    return convolution(
        *(x, weight, bias, stride, padding, dilation, groups, arithmetic),
        transposed=transposed,
        output_padding=output_padding,
    )


def _convolution_backward(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
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


def _sum(func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept) -> Tensor:
    padded: tuple[Any, ...] = (*args, *(None, False)[len(args) - 1 :])
    x, dim, keepdim = padded[:3]
    dtype = kwargs.get("dtype") or x.dtype
    if not arithmetic.sums.is_emulated or not dtype.is_floating_point:
        return func.overloadpacket(*args, **kwargs)
    return sum_as(x.to(dtype), arithmetic, dim=dim or None, keepdim=keepdim)


def _mean(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Tensor:
    if not arithmetic.sums.is_emulated:
        return func.overloadpacket(*args, **kwargs)
    total = _sum(func, args, kwargs, arithmetic, kept)
    return total / (math.prod(args[0].shape) // max(1, math.prod(total.shape)))


PRODUCTS: dict[Any, Compute] = {
    aten.mm: _product,
    aten.bmm: _product,
    aten.mv: _product,
    aten.dot: _product,
    aten.vdot: _product,
    **dict.fromkeys(
        (
            *(aten.addmm, aten.baddbmm, aten.addmv, aten.addbmm),
            *(aten.addmm_, aten.baddbmm_, aten.addmv_, aten.addbmm_),
        ),
        _product_and_sum,
    ),
    aten._trilinear: _trilinear,
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.sum: _sum,
    aten.mean: _mean,
}
"""What forms sums of products, by operator."""


def form(
    func: Any, args: Arguments, kwargs: Options, arithmetic: Arithmetic, kept: Kept
) -> Any | None:
    """Compute an operator of `PRODUCTS`, and write the result where the operator would.

    Returns:
        None where it adds up no floating-point numbers, and torch has to compute it.
    """
    compute = PRODUCTS.get(func.overloadpacket)
    operands = list(tensors_in(args))
    if compute is None or not all(each.is_floating_point() for each in operands):
        return None
    options = {name: value for name, value in kwargs.items() if name != "out"}
    made = compute(func, args, options, arithmetic, kept)
    for target in written_arguments(func, args, kwargs):
        if target.shape != made.shape:  # as torch itself treats out=
            target.resize_(made.shape)
        return target.copy_(made)
    return made
