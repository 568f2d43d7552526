"""Matrix products, linear maps and sums as an arithmetic computes them, with their gradients.

Both products of the backward pass are formed by the arithmetic's own arithmetic for them. Roundings
pass gradients on unchanged.
"""

# torch's autograd functions carry no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._operands import (
    check_operands,
    product_of,
    to_carrier,
    to_format,
    to_inputs,
    to_output,
)
from deephochuli.arithmetic._plans import plan_of_addends
from deephochuli.arithmetic._sums import SumKind
from deephochuli.errors import ArithmeticSpecError
from deephochuli.kernels.products import multiply


class _Product(torch.autograd.Function):
    """(batch, M, K) times (batch, K, N), plus a bias."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        bias: Tensor | None,
        arithmetic: Arithmetic,
        gradients: tuple[bool, bool],
    ) -> Tensor:
        """Form the product; `gradients` says which operands are gradients."""
        ctx.save_for_backward(a, b)
        ctx.arithmetic = arithmetic
        dtype = check_operands(a, b, "Product")
        first, second = (
            to_inputs(x.to(dtype), arithmetic, is_gradient=is_gradient)
            for x, is_gradient in zip((a, b), gradients, strict=True)
        )
        return to_output(product_of(first, second, bias, arithmetic), arithmetic, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Form the two products of the backward pass, and the sum for the bias."""
        (grad,) = grads
        a, b = ctx.saved_tensors
        arithmetic = ctx.arithmetic.backward or ctx.arithmetic
        grad_a = grad_b = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_a = _Product.apply(grad, b.mT, None, arithmetic, (True, False)).to(a.dtype)
        if ctx.needs_input_grad[1]:
            grad_b = _Product.apply(a.mT, grad, None, arithmetic, (False, True)).to(b.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = sum_as(grad, arithmetic, dim=(0, 1))
        return grad_a, grad_b, grad_bias, None, None


class _Expand(torch.autograd.Function):
    """Broadcasting, whose backward is a sum under the arithmetic."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], arithmetic: Arithmetic) -> Tensor:
        """Expand the leading dimensions."""
        ctx.shape, ctx.arithmetic = x.shape, arithmetic
        return x.expand(shape)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Add up over what was expanded."""
        (grad,) = grads
        arithmetic = ctx.arithmetic.backward or ctx.arithmetic
        new = grad.dim() - len(ctx.shape)
        kept = [i for i, n in enumerate(ctx.shape) if n == 1 and grad.shape[i + new] != 1]
        total = sum_as(grad, arithmetic, dim=list(range(new))) if new else grad
        return (sum_as(total, arithmetic, dim=kept, keepdim=True) if kept else total), None, None


def matmul(a: Tensor, b: Tensor, arithmetic: Arithmetic) -> Tensor:
    """The product of two tensors, by the rules of `torch.matmul`.

    Args:
        a: (..., M, K) or (K,).
        b: (..., K, N) or (K,). Leading dimensions broadcast.
        arithmetic: How operands and results are rounded and products are added.

    Returns:
        What `torch.matmul` returns, in the wider dtype of the two.

    Raises:
        ArithmeticSpecError: The shapes do not fit, or an operand is not floating-point.

    Numerics:
        Correct to the bit for emulated sums, on every device and for every number of threads; k
        ascends. Native sums are torch's own.

    Example:
        >>> from deephochuli.arithmetic import get_arithmetic
        >>> ones = torch.ones(1, 4096)
        >>> matmul(ones, ones.T, get_arithmetic("fp16-sequential")).item()
        2048.0
    """
    if not a.dim() or not b.dim() or a.shape[-1] != b.shape[-2 if b.dim() > 1 else 0]:
        raise ArithmeticSpecError(
            f"Product of shapes {tuple(a.shape)} and {tuple(b.shape)}: the last dimension of the "
            "first must be the last but one of the second (its only one, for a vector)."
        )
    left = a.unsqueeze(0) if a.dim() == 1 else a
    right = b.unsqueeze(1) if b.dim() == 1 else b
    out = _matrices(left, right, arithmetic)
    if b.dim() == 1:
        out = out.squeeze(-1)
    return out.squeeze(-1 if b.dim() == 1 else -2) if a.dim() == 1 else out


def product(
    a: Tensor, b: Tensor, arithmetic: Arithmetic, *, gradients: tuple[bool, bool]
) -> Tensor:
    """The product of two tensors, of which some may be gradients; not differentiable.

    As `matmul`, without broadcasting; operands that are gradients are rounded as such.
    """
    if not any(gradients):
        return matmul(a, b, arithmetic)
    if a.dim() == 2:
        return product(a.unsqueeze(0), b.unsqueeze(0), arithmetic, gradients=gradients).squeeze(0)
    return _Product.apply(a, b, None, arithmetic, gradients)


def _matrices(a: Tensor, b: Tensor, arithmetic: Arithmetic) -> Tensor:
    """A product of operands of at least two dimensions."""
    if b.dim() == 2:
        flat = a.reshape(1, math.prod(a.shape[:-1]), a.shape[-1])
        out = _Product.apply(flat, b.unsqueeze(0), None, arithmetic, (False, False))
        return out.reshape(*a.shape[:-1], b.shape[-1])
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = _expanded(a, batch, arithmetic).reshape(math.prod(batch), *a.shape[-2:])
    right = _expanded(b, batch, arithmetic).reshape(math.prod(batch), *b.shape[-2:])
    out = _Product.apply(left, right, None, arithmetic, (False, False))
    return out.reshape(*batch, a.shape[-2], b.shape[-1])


def _expanded(x: Tensor, batch: Sequence[int], arithmetic: Arithmetic) -> Tensor:
    shape = (*batch, *x.shape[-2:])
    return x if x.shape == shape else _Expand.apply(x, shape, arithmetic)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """The linear map x weight^T + bias.

    Args:
        x: (..., K).
        weight: (N, K).
        bias: (N,), added to the sum of products and rounded with it once, or None.
        arithmetic: How operands and results are rounded and products are added.

    Returns:
        (..., N), in the wider dtype of x and weight.

    Raises:
        ArithmeticSpecError: The shapes do not fit, or an operand is not floating-point.

    Numerics:
        As in `matmul`. The bias is added in the format of the partial sums; in fp32 where tensor
        cores form them.
    """
    if weight.dim() != 2 or not x.dim() or x.shape[-1] != weight.shape[1]:
        raise ArithmeticSpecError(
            f"Linear map of shape {tuple(weight.shape)} of a tensor of shape {tuple(x.shape)}: the "
            "last dimensions must be equal."
        )
    flat = x.reshape(1, math.prod(x.shape[:-1]), x.shape[-1])
    out = _Product.apply(flat, weight.mT.unsqueeze(0), bias, arithmetic, (False, False))
    return out.reshape(*x.shape[:-1], weight.shape[0])


class _Sum(torch.autograd.Function):
    """The sum over the rows of a matrix."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, arithmetic: Arithmetic) -> Tensor:
        """Add (K, N) up to (N,)."""
        ctx.rows = x.shape[0]
        if arithmetic.sums.kind is SumKind.NATIVE:
            return to_output(to_carrier(x, arithmetic).sum(0), arithmetic, x.dtype)
        plan = plan_of_addends(arithmetic)
        addends = to_format(x, plan.format, arithmetic.input_rounding).to(plan.dtype)
        ones = torch.ones(1, 1, x.shape[0], dtype=plan.dtype, device=x.device)
        return to_output(multiply(plan, ones, addends.unsqueeze(0))[0, 0], arithmetic, x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Each addend has the gradient of the sum."""
        (grad,) = grads
        return grad.expand(ctx.rows, -1), None


def sum_as(
    x: Tensor,
    arithmetic: Arithmetic,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
) -> Tensor:
    """The sum over dimensions, formed as the arithmetic adds products up.

    Args:
        x: Addends; emulated sums round them to the format of partial sums first.
        arithmetic: How they are added. Aligned sums multiply, which a plain sum does not: they, and
            those that flush subnormals, count as FMA chains in fp32 here.
        dim: Dimensions to sum over, in ascending order, the last one fastest; None: all.
        keepdim: Whether they stay, with one element each.

    Returns:
        What `torch.sum` returns.

    Numerics:
        As in `matmul`.
    """
    if not x.is_floating_point():
        raise ArithmeticSpecError(f"Sum of {x.dtype}: an arithmetic knows floating-point only.")
    given = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    over = sorted({each % max(1, x.dim()) for each in given})
    if x.dim() == 0 or not (over or dim is None):
        over = list(range(x.dim()))
    kept = [i for i in range(x.dim()) if i not in over]
    n_added, n_sums = (math.prod(x.shape[i] for i in dims) for dims in (over, kept))
    rows = x.permute([*over, *kept]).reshape(n_added, n_sums)
    total = _Sum.apply(rows, arithmetic)
    if keepdim:
        return total.reshape([1 if i in over else n for i, n in enumerate(x.shape)])
    return total.reshape([x.shape[i] for i in kept])
