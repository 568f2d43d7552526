"""How each torch function is written down as steps of a program."""

# What torch functions are given has no type before it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.pieces._affine import Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Elementwise, Maximum, relu
from deephochuli.pieces._registry import (
    HANDLERS,
    Args,
    Options,
    constant,
    filled,
    handles,
    offset,
)
from deephochuli.pieces._trace import Recorder
from deephochuli.pieces._windows import adaptive_windows, index_of, pool_windows, spread

_MOST_POWER = 900
"""Two to this power can be multiplied with other numbers."""

# --- affine maps -------------------------------------------------------------------------------


@handles("linear")
def _linear(
    r: Recorder, out: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, bias: Any = None
) -> Any:
    w = constant(r, weight)
    return Dense(w, offset(r, bias, len(w)), input.numel() // w.shape[1]), r.value(input)


@handles("matmul", "mm", "__matmul__")
def _matmul(r: Recorder, out: torch.Tensor, input: torch.Tensor, other: torch.Tensor) -> Any:
    if r.find(input) is None or other.dim() != 2:
        raise r.refusal("a matrix product whose left factor does not follow from the input")
    return _linear(r, out, input, _transposed(r, other))


def _transposed(r: Recorder, other: torch.Tensor) -> torch.Tensor:
    constant(r, other)
    return other.t()


@handles("addmm")
def _addmm(
    r: Recorder, out: torch.Tensor, input: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor
) -> Any:
    constant(r, input)
    return _linear(r, out, mat1, _transposed(r, mat2), input.expand(mat2.shape[1]))


@handles("conv1d", "conv2d", "conv3d")
def _conv(
    r: Recorder,
    out: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    n = weight.dim() - 2
    w = constant(r, weight)
    stride, dilation = spread(stride, n), spread(dilation, n)
    value, shape = r.value(input), tuple(input.shape[-n - 1 :])
    if isinstance(padding, str):
        totals = [
            d * (k - 1) * (padding == "same") for d, k in zip(dilation, w.shape[2:], strict=True)
        ]
        if any(total % 2 for total in totals):
            pads = [side for t in reversed(totals) for side in (t // 2, t - t // 2)]
            index = index_of(torch.nn.functional.pad(_places(input), pads, value=-1))
            value = r.add(Gather(index), value)
            shape = (shape[0], *(s + t for s, t in zip(shape[1:], totals, strict=True)))
            totals = [0] * n
        padding = tuple(total // 2 for total in totals)
    # Several images, parts of the one input, are groups of channels of one.
    several = input.shape[: -n - 1].numel()
    shape, groups = (several * shape[0], *shape[1:]), several * groups
    w, b = (np.concatenate([each] * several) for each in (w, offset(r, bias, len(w))))
    return Conv(w, b, shape, stride, spread(padding, n), dilation, groups), value


@handles("batch_norm")
def _batch_norm(
    r: Recorder,
    out: torch.Tensor,
    input: torch.Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training or running_mean is None:
        raise r.refusal("batch norm that normalises by the batch (call model.eval() first)")
    for each in (running_mean, running_var, weight, bias):
        if each is not None:
            constant(r, each)
    scale = 1.0 / torch.sqrt(running_var.double() + eps)
    scale = scale if weight is None else scale * weight.double()
    shift = (0.0 if bias is None else bias.double()) - running_mean.double() * scale
    shape = [1, -1] + [1] * (input.dim() - 2)
    factor, added = (filled(each.reshape(shape), out) for each in (scale, shift))
    return Scale(factor, added), r.value(input)


@handles("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout")
def _dropout(
    r: Recorder, out: Any, input: torch.Tensor, p: float = 0.5, training: bool = True, *_: Any
) -> Any:
    if training and p > 0:
        raise r.refusal("dropout in training (call model.eval() first)")
    return r.value(input)


@handles("add", "__add__", "__radd__")
def _add(r: Recorder, out: torch.Tensor, input: Any, other: Any, alpha: float = 1) -> Any:
    return _combined(r, out, input, other, 1, alpha)


@handles("sub", "subtract", "__sub__")
def _sub(r: Recorder, out: torch.Tensor, input: Any, other: Any, alpha: float = 1) -> Any:
    return _combined(r, out, input, other, -1, alpha)


@handles("__rsub__", "rsub")
def _rsub(r: Recorder, out: torch.Tensor, input: Any, other: Any) -> Any:
    return _combined(r, out, other, input, -1, 1)


def _combined(r: Recorder, out: torch.Tensor, a: Any, b: Any, sign: int, alpha: float) -> Any:
    """A + sign * alpha * b, where one of both may be a constant."""
    ones = np.ones(out.numel())
    if r.find(a) is None:
        return Scale(ones * sign * alpha, filled(a, out)), _expanded(r, b, out)
    if r.find(b) is None:
        return Scale(ones, sign * alpha * filled(b, out)), _expanded(r, a, out)
    second = _expanded(r, b, out)
    if alpha != 1:
        second = r.add(Scale(ones * alpha, 0 * ones), second)
    return Sum((1, sign), out.numel()), _expanded(r, a, out), second


def _expanded(r: Recorder, tensor: torch.Tensor, like: torch.Tensor) -> int:
    """A value repeated to the shape of a result."""
    value = r.value(tensor)
    if tensor.shape == like.shape or tensor.numel() == like.numel():
        return value
    return r.add(Gather(index_of(_places(tensor).expand(like.shape))), value)


@handles("mul", "multiply", "__mul__", "__rmul__")
def _mul(r: Recorder, out: torch.Tensor, input: Any, other: Any) -> Any:
    if r.find(input) is None:
        input, other = other, input
    if r.find(other) is not None:
        raise r.refusal("a product of two tensors that both follow from the input")
    factor = filled(other, out)
    return Scale(factor, 0 * factor), _expanded(r, input, out)


@handles("div", "divide", "true_divide", "__truediv__")
def _div(r: Recorder, out: torch.Tensor, input: Any, other: Any, rounding_mode: Any = None) -> Any:
    if r.find(other) is not None or rounding_mode is not None:
        raise r.refusal("a quotient by a tensor that follows from the input, or a rounded one")
    if (divisor := filled(other, out)).all():
        return _quotient(divisor), _expanded(r, input, out)
    raise r.refusal("a quotient by zero")


def _quotient(divisor: NDArray[np.float64]) -> Scale:
    """Division by constants; by one number without a rounding before it, as (x 2^k) / n."""
    zeros, first = np.zeros(len(divisor)), float(divisor[0])
    fraction, power = math.frexp(abs(first))
    if (divisor != first).any() or abs(power) > _MOST_POWER:
        return Scale(1.0 / divisor, zeros)
    top = int(math.ldexp(fraction, 53))
    whole = top // (top & -top)
    return Scale(zeros + whole / first, zeros, whole)


@handles("neg", "negative", "__neg__")
def _neg(r: Recorder, out: torch.Tensor, input: torch.Tensor) -> Any:
    return Scale(-np.ones(out.numel()), np.zeros(out.numel())), r.value(input)


# --- entries moved, summed and averaged ----------------------------------------------------------


def _places(tensor: torch.Tensor) -> torch.Tensor:
    """The place of each entry, in the shape of the tensor."""
    return torch.arange(tensor.numel()).reshape(tensor.shape)


def _moves(
    r: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
) -> list[int | None]:
    """A function that only moves entries: what it does to places says what it does to numbers."""
    if r.find(args[0]) is None:
        return _constants(r, func, args, kwargs, result)
    moved = func(_places(args[0]), *args[1:], **kwargs)
    value = r.value(args[0])
    several = moved if isinstance(moved, list | tuple) else [moved]
    return [_moved(r, index_of(each), value, args[0].numel()) for each in several]


def _moved(r: Recorder, index: NDArray[np.int64], value: int, n: int) -> int:
    if len(index) == n and bool((index == np.arange(n)).all()):
        return value
    return r.add(Gather(index), value)


for _name in (
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose"),
    *("t", "T", "mT", "movedim", "__getitem__", "contiguous", "expand", "expand_as", "view_as"),
    *("chunk", "split", "unbind", "select", "narrow", "flip", "roll", "index_select", "tile"),
    *("repeat", "swapaxes", "reshape_as", "pixel_shuffle", "channel_shuffle", "clone", "detach"),
    *("positive", "data", "ravel", "hsplit", "tensor_split", "alias"),
):
    HANDLERS[_name] = _moves


def _same(
    r: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
) -> list[int | None]:
    """A change of dtype or device: the function that is counted is the real one."""
    return [None if r.find(args[0]) is None else r.value(args[0])]


def _constants(
    r: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
) -> list[int | None]:
    """Constants of the shape of a tensor, which says nothing of its numbers."""
    return [None] * (len(result) if isinstance(result, list | tuple) else 1)


for _name in ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"):
    HANDLERS[_name] = _constants


for _name in (
    "to",
    "double",
    "float",
    "type",
    "type_as",
    "requires_grad",
    "cpu",
    "half",
    "bfloat16",
):
    HANDLERS[_name] = _same


@handles("cat", "concat", "concatenate")
def _cat(r: Recorder, out: torch.Tensor, tensors: Any, dim: int = 0) -> Any:
    places: list[torch.Tensor] = []
    values: list[int] = []
    begin = 0
    for each in tensors:
        if r.find(each) is None:
            raise r.refusal("a concatenation with a tensor that does not follow from the input")
        places.append(_places(each) + begin)
        values.append(r.value(each))
        begin += each.numel()
    return Gather(index_of(torch.cat(places, dim))), *values


@handles("pad", "constant_pad_nd")
def _pad(
    r: Recorder, out: torch.Tensor, input: Any, pad: Any, mode: str = "constant", value: Any = None
) -> Any:
    if mode == "constant" and value:
        raise r.refusal("padding with a constant other than zero")
    places = _places(input).double() if mode != "constant" else _places(input)
    more = {"value": -1} if mode == "constant" else {}
    moved = torch.nn.functional.pad(places, pad, mode=mode, **more)
    return Gather(index_of(moved.long())), r.value(input)


def _total(is_mean: bool) -> Callable[..., Any]:
    def handler(
        r: Recorder, out: torch.Tensor, input: torch.Tensor, dim: Any = None, keepdim: Any = False
    ) -> Any:
        index = _along(input, dim)
        divisor = np.full(len(index), index.shape[1] if is_mean else 1, dtype=np.int64)
        return Mean(index, divisor), r.value(input)

    return handler


handles("mean")(_total(is_mean=True))
handles("sum")(_total(is_mean=False))


def _along(tensor: torch.Tensor, dim: Any) -> NDArray[np.int64]:
    """Places that a reduction over some dimensions joins, shape (outputs, joined)."""
    n = tensor.dim()
    dims = [d % n for d in spread(dim, None)] if dim not in (None, (), []) else list(range(n))
    kept = [d for d in range(n) if d not in dims]
    places = _places(tensor).permute(*kept, *dims)
    return places.reshape(int(np.prod([tensor.shape[d] for d in kept])), -1).numpy()


def _avg_pool(
    n: int,
    r: Recorder,
    out: torch.Tensor,
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    shapes = input.shape[-n:], out.shape[-n:]
    windows = pool_windows(*shapes, kernel_size, stride, padding, 1, n)
    index, inside = windows.over(input.shape[:-n].numel())
    divisor = inside if count_include_pad else (index >= 0).sum(axis=1)
    if divisor_override:
        divisor = np.full(len(index), divisor_override, dtype=np.int64)
    return Mean(index, divisor), r.value(input)


def _adaptive_avg_pool(
    n: int, r: Recorder, out: torch.Tensor, input: torch.Tensor, output_size: Any
) -> Any:
    windows = adaptive_windows(input.shape[-n:], out.shape[-n:])
    index, _ = windows.over(input.shape[:-n].numel())
    return Mean(index, (index >= 0).sum(axis=1)), r.value(input)


# --- piecewise linear maps ---------------------------------------------------------------------


def _bend(
    r: Recorder, input: torch.Tensor, knots: Any, slopes: Any, start: float
) -> tuple[Elementwise, int]:
    columns = np.array(slopes, dtype=np.float64).reshape(len(knots) + 1, -1)
    n = input.numel()
    return Elementwise(np.array(knots, dtype=np.float64), columns, start, n), r.value(input)


@handles("relu")
def _relu(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    return relu(input.numel()), r.value(input)


@handles("abs", "absolute", "__abs__")
def _abs(r: Recorder, out: Any, input: torch.Tensor) -> Any:
    return _bend(r, input, [0.0], [-1, 1], 0.0)


@handles("leaky_relu")
def _leaky_relu(r: Recorder, out: Any, input: torch.Tensor, negative_slope: float = 0.01) -> Any:
    return _bend(r, input, [0.0], [negative_slope, 1], 0.0)


@handles("prelu")
def _prelu(r: Recorder, out: torch.Tensor, input: torch.Tensor, weight: torch.Tensor) -> Any:
    constant(r, weight)
    shape = [1, -1] + [1] * (input.dim() - 2)
    slopes = filled(weight if weight.numel() == 1 else weight.reshape(shape), out)
    return _bend(r, input, [0.0], [slopes, np.ones(len(slopes))], 0.0)


@handles("hardtanh")
def _hardtanh(
    r: Recorder, out: Any, input: torch.Tensor, min_val: float = -1.0, max_val: float = 1.0
) -> Any:
    if not min_val < max_val:
        raise r.refusal(f"a function that is constant, from {min_val} to {max_val},")
    if math.isfinite(min_val) and math.isfinite(max_val):
        return _bend(r, input, [min_val, max_val], [0, 1, 0], float(min_val))
    if math.isfinite(min_val):
        return _bend(r, input, [min_val], [0, 1], float(min_val))
    if max_val == math.inf:
        return r.value(input)
    return _bend(r, input, [max_val], [1, 0], float(max_val))


@handles("relu6")
def _relu6(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    return _bend(r, input, [0.0, 6.0], [0, 1, 0], 0.0)


@handles("hardsigmoid")
def _hardsigmoid(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    op, value = _bend(r, input, [-3.0, 3.0], [0, 1, 0], 0.0)
    ones = np.ones(input.numel())
    return Scale(ones, 0 * ones, 6), r.add(op, value)


@handles("softshrink")
def _softshrink(r: Recorder, out: Any, input: torch.Tensor, lambd: float = 0.5) -> Any:
    return _bend(r, input, [-lambd, lambd], [1, 0, 1], 0.0)


def _clamped(r: Recorder, out: Any, input: torch.Tensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, torch.Tensor) or isinstance(max, torch.Tensor):
        raise r.refusal("clamping between tensors")
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return _hardtanh(r, out, input, low, high)


handles("clamp", "clip", "clamp_min")(_clamped)
handles("clamp_max")(lambda r, out, input, max: _clamped(r, out, input, None, max))


def _max_pool(
    n: int,
    r: Recorder,
    out: torch.Tensor,
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    shapes = input.shape[-n:], out.shape[-n:]
    windows = pool_windows(*shapes, kernel_size, stride, padding, dilation, n)
    return Maximum(windows.over(input.shape[:-n].numel())[0]), r.value(input)


for _n in (1, 2, 3):
    handles(f"avg_pool{_n}d")(functools.partial(_avg_pool, _n))
    handles(f"adaptive_avg_pool{_n}d")(functools.partial(_adaptive_avg_pool, _n))
    handles(f"max_pool{_n}d")(functools.partial(_max_pool, _n))


@handles("max", "amax")
def _max(
    r: Recorder,
    out: Any,
    input: torch.Tensor,
    dim: Any = None,
    keepdim: bool = False,
    other: torch.Tensor | None = None,
) -> Any:
    other = dim if isinstance(dim, torch.Tensor) else other
    if other is not None:
        return _maximum(r, out, input, other)
    return Maximum(_along(input, dim)), r.value(input)


@handles("maximum")
def _maximum(r: Recorder, out: torch.Tensor, input: torch.Tensor, other: torch.Tensor) -> Any:
    if r.find(input) is None or r.find(other) is None:
        raise r.refusal("a maximum with a tensor that does not follow from the input")
    n = out.numel()
    both = r.add(Gather(np.arange(2 * n)), _expanded(r, input, out), _expanded(r, other, out))
    return Maximum(np.arange(2 * n).reshape(2, n).T.copy()), both
