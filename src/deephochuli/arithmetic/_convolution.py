"""Convolutions as an arithmetic computes them, with both products of their backward pass."""

# torch's autograd functions carry no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._convolution_sums import sum_by_input, sum_by_weight, sum_forward
from deephochuli.arithmetic._operands import (
    add_bias,
    check_operands,
    to_carrier,
    to_inputs,
    to_output,
)
from deephochuli.arithmetic._products import sum_as
from deephochuli.arithmetic._sums import SumKind
from deephochuli.arithmetic._windows import Geometry, padded
from deephochuli.errors import ArithmeticSpecError

Sizes = int | Sequence[int]


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
    arithmetic: Arithmetic,
    *,
    transposed: bool = False,
    output_padding: Sizes = 0,
) -> Tensor:
    """A convolution in one to three dimensions, or a transposed one.

    Args:
        x: (N, C, *sizes), or (C, *sizes) for a single image.
        weight: (O, C / groups, *kernel); transposed: (C, O / groups, *kernel).
        bias: (O,), added to the sum of products and rounded with it once, or None.
        stride: One number, or one for each spatial dimension; as for the next two.
        padding: Zeros on both sides, or "valid", or "same" with a stride of 1.
        dilation: Distance between the elements of a window.
        groups: Groups of channels that do not see each other.
        arithmetic: How operands and results are rounded and products are added.
        transposed: Whether to compute the gradient of a convolution by its input.
        output_padding: Further elements at the end of a transposed convolution's result.

    Returns:
        What `torch.nn.functional.conv1d` and its like return, in the wider dtype of the two.

    Raises:
        ArithmeticSpecError: The shapes do not fit, or an operand is not floating-point.

    Numerics:
        As in `matmul`. The order of the sums: forward by channel, kernel row, kernel column;
        gradient by the input by output channel, kernel row and column, with zeros where a stride
        left something out; gradient by the weight by image, output row, output column.
    """
    n_spatial = weight.dim() - 2
    if x.dim() == n_spatial + 1:
        out = convolution(
            *(x.unsqueeze(0), weight, bias, stride, padding, dilation, groups, arithmetic),
            transposed=transposed,
            output_padding=output_padding,
        )
        return out.squeeze(0)
    _check(x, weight, groups, transposed=transposed)
    dilations = _each(dilation, n_spatial)
    if isinstance(padding, str):
        x, padding = _padded_by_name(
            x, padding, weight.shape[2:], _each(stride, n_spatial), dilations
        )
    geometry = Geometry(
        tuple(weight.shape[2:]), _each(stride, n_spatial), _each(padding, n_spatial), dilations
    )
    extra = _each(output_padding, n_spatial) if transposed else None
    return _Convolution.apply(x, weight, bias, geometry, groups, arithmetic, extra)


class _Convolution(torch.autograd.Function):
    """A convolution, transposed where the padding of its result is given."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        groups: int,
        arithmetic: Arithmetic,
        extra: tuple[int, ...] | None,
    ) -> Tensor:
        """Form the result."""
        ctx.save_for_backward(x, weight)
        ctx.how = geometry, groups, arithmetic, extra
        a, b = _inputs(x, weight, arithmetic)
        if extra is None:
            total = sum_forward(a, b, geometry, groups, arithmetic)
        else:
            sizes = _transposed_sizes(x.shape[2:], geometry, extra)
            total = sum_by_input(a, b, sizes, geometry, groups, arithmetic)
        if bias is not None:
            total = add_bias(total, bias.reshape(-1, *[1] * (x.dim() - 2)), arithmetic)
        return to_output(total, arithmetic, torch.promote_types(x.dtype, weight.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Form the two products of the backward pass, and the sum for the bias."""
        (grad,) = grads
        x, weight = ctx.saved_tensors
        geometry, groups, arithmetic, extra = ctx.how
        arithmetic = arithmetic.backward or arithmetic
        how = (geometry, groups, arithmetic, extra)
        made: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            made[0] = _grad_input(grad, x, weight, *how)
        if ctx.needs_input_grad[1]:
            made[1] = _grad_weight(grad, x, weight, *how)
        if ctx.needs_input_grad[2]:
            made[2] = sum_as(grad, arithmetic, dim=[0, *range(2, grad.dim())])
        return (*made, None, None, None, None)


def convolution_grad_input(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    arithmetic: Arithmetic,
    *,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    transposed: bool = False,
    output_padding: Sizes = 0,
) -> Tensor:
    """Gradient of a convolution by its input, formed by exactly the arithmetic given."""
    geometry, extra = _described(weight, stride, padding, dilation, transposed, output_padding)
    return _grad_input(grad, x, weight, geometry, groups, arithmetic, extra)


def convolution_grad_weight(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    arithmetic: Arithmetic,
    *,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    transposed: bool = False,
    output_padding: Sizes = 0,
) -> Tensor:
    """Gradient of a convolution by its weight, formed by exactly the arithmetic given."""
    geometry, extra = _described(weight, stride, padding, dilation, transposed, output_padding)
    return _grad_weight(grad, x, weight, geometry, groups, arithmetic, extra)


def _described(
    weight: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
) -> tuple[Geometry, tuple[int, ...] | None]:
    n = weight.dim() - 2
    kernel = tuple(weight.shape[2:])
    geometry = Geometry(kernel, _each(stride, n), _each(padding, n), _each(dilation, n))
    return geometry, _each(output_padding, n) if transposed else None


def _grad_input(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    arithmetic: Arithmetic,
    extra: tuple[int, ...] | None,
) -> Tensor:
    a, b = _inputs(grad, weight, arithmetic, first_is_gradient=True)
    if extra is None:
        total = sum_by_input(a, b, tuple(x.shape[2:]), geometry, groups, arithmetic)
    else:
        total = sum_forward(a, b, geometry, groups, arithmetic)
    return to_output(total, arithmetic, x.dtype)


def _grad_weight(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    arithmetic: Arithmetic,
    extra: tuple[int, ...] | None,
) -> Tensor:
    a, b = _inputs(grad, x, arithmetic, first_is_gradient=True)
    if extra is not None:  # what the convolution read is what the transposed one wrote
        a, b = b, a
    total = sum_by_weight(a, b, tuple(weight.shape), geometry, groups, arithmetic)
    return to_output(total, arithmetic, weight.dtype)


def _inputs(
    x: Tensor, weight: Tensor, arithmetic: Arithmetic, *, first_is_gradient: bool = False
) -> tuple[Tensor, Tensor]:
    dtype = check_operands(x, weight, "Convolution")
    first = to_inputs(x.to(dtype), arithmetic, is_gradient=first_is_gradient)
    second = to_inputs(weight.to(dtype), arithmetic)
    if arithmetic.sums.kind is SumKind.NATIVE:
        return to_carrier(first, arithmetic), to_carrier(second, arithmetic)
    return first, second


def _transposed_sizes(
    sizes: Sequence[int], geometry: Geometry, extra: tuple[int, ...]
) -> tuple[int, ...]:
    return tuple(
        (n - 1) * geometry.stride[d] - 2 * geometry.padding[d] + geometry.extent(d) + extra[d]
        for d, n in enumerate(sizes)
    )


def _each(value: Sizes, n: int) -> tuple[int, ...]:
    """One number for each spatial dimension."""
    if isinstance(value, int):
        return (value,) * n
    return tuple(value) * n if len(value) == 1 else tuple(value)


def _padded_by_name(
    x: Tensor,
    padding: str,
    kernel: Sequence[int],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Tensor, int]:
    """The input with the zeros that "same" stands for; an odd one goes behind."""
    if padding == "valid":
        return x, 0
    if padding != "same" or any(s != 1 for s in stride):
        raise ArithmeticSpecError(
            f"padding={padding!r} with stride={stride}: padding is a number, 'valid', or 'same' "
            "with a stride of 1."
        )
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return padded(x, [(span // 2, span - span // 2) for span in spans]), 0


def _check(x: Tensor, weight: Tensor, groups: int, *, transposed: bool) -> None:
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    fits = x.dim() == weight.dim() and x.shape[1] == channels and weight.shape[0] % groups == 0
    if not fits or not 1 <= weight.dim() - 2 <= 3:
        raise ArithmeticSpecError(
            f"Convolution of a tensor of shape {tuple(x.shape)} with weights of shape "
            f"{tuple(weight.shape)}, groups={groups}, transposed={transposed}: expected "
            f"{channels} channels and one to three spatial dimensions."
        )
