"""How each torch function is written down as steps of a program."""

# What torch functions are given has no type before it is looked at.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.pieces._affine import Affine, Conv, Dense, Gather, Mean, Scale, Sum
from deephochuli.pieces._bends import Bend, Elementwise, Maximum, relu
from deephochuli.pieces._trace import Handler, Recorder
from deephochuli.pieces._windows import adaptive_windows, index_of, pool_windows, spread

Args = tuple[Any, ...]
Options = dict[str, Any]

HANDLERS: dict[str, Handler] = {}
"""By the name of the function; a trailing underscore (in place) does not matter."""


def _handles(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler whose parameters are called as torch calls them.

    What it returns, a step with the values it reads, is written down; a list of values is taken as
    it is.
    """

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(handler)

        @functools.wraps(handler)
        def call(
            recorder: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
        ) -> list[int]:
            known = {k: v for k, v in kwargs.items() if k in signature.parameters}
            first = result[0] if isinstance(result, list | tuple) else result
            made = handler(recorder, first, *args, **known)
            return made if isinstance(made, list) else [_written(recorder, made)]

        for name in names:
            HANDLERS[name] = call
        return handler

    return register


def _written(recorder: Recorder, made: Any) -> int:
    if isinstance(made, int):
        return made
    op, *inputs = cast("tuple[Affine | Bend, *tuple[int, ...]]", made)
    return recorder.add(op, *inputs)


def _numbers(tensor: torch.Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(tensor.detach().double().numpy())


def _spread(x: object, like: torch.Tensor) -> NDArray[np.float64]:
    """A number or a tensor that does not follow from the input, as one number an output."""
    tensor = torch.as_tensor(x, dtype=torch.float64).detach().expand(like.shape)
    return _numbers(tensor.reshape(-1))


# --- affine maps -------------------------------------------------------------------------------


@_handles("linear")
def _linear(
    r: Recorder, out: torch.Tensor, input: torch.Tensor, weight: torch.Tensor, bias: Any = None
) -> Any:
    w = _constant(r, weight)
    b = np.zeros(len(w)) if bias is None else _numbers(bias)
    return Dense(w, b, input.numel() // w.shape[1]), r.value(input)


@_handles("matmul", "mm", "__matmul__")
def _matmul(r: Recorder, out: torch.Tensor, input: torch.Tensor, other: torch.Tensor) -> Any:
    if r.find(input) is None or other.dim() != 2:
        raise r.refusal("a matrix product whose left factor does not follow from the input")
    return _linear(r, out, input, _transposed(r, other))


def _transposed(r: Recorder, other: torch.Tensor) -> torch.Tensor:
    _constant(r, other)
    return other.t()


@_handles("addmm")
def _addmm(
    r: Recorder, out: torch.Tensor, input: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor
) -> Any:
    _constant(r, input)
    return _linear(r, out, mat1, _transposed(r, mat2), input.expand(mat2.shape[1]))


def _constant(r: Recorder, tensor: torch.Tensor) -> NDArray[np.float64]:
    if r.find(tensor) is not None:
        raise r.refusal("a product of two tensors that both follow from the input")
    return _numbers(tensor)


@_handles("conv1d", "conv2d", "conv3d")
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
    w = _constant(r, weight)
    stride, dilation = spread(stride, n), spread(dilation, n)
    value, shape = r.value(input), tuple(input.shape[1:])
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
    b = np.zeros(len(w)) if bias is None else _numbers(bias)
    return Conv(w, b, shape, stride, spread(padding, n), dilation, groups), value


@_handles("batch_norm")
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
    scale = 1.0 / torch.sqrt(running_var.double() + eps)
    scale = scale if weight is None else scale * weight.double()
    offset = (0.0 if bias is None else bias.double()) - running_mean.double() * scale
    shape = [1, -1] + [1] * (input.dim() - 2)
    return Scale(_spread(scale.reshape(shape), out), _spread(offset.reshape(shape), out)), r.value(
        input
    )


@_handles("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout")
def _dropout(
    r: Recorder, out: Any, input: torch.Tensor, p: float = 0.5, training: bool = True, *_: Any
) -> Any:
    if training and p > 0:
        raise r.refusal("dropout in training (call model.eval() first)")
    return r.value(input)


@_handles("add", "__add__", "__radd__")
def _add(r: Recorder, out: torch.Tensor, input: Any, other: Any, alpha: float = 1) -> Any:
    return _combined(r, out, input, other, 1, alpha)


@_handles("sub", "subtract", "__sub__")
def _sub(r: Recorder, out: torch.Tensor, input: Any, other: Any, alpha: float = 1) -> Any:
    return _combined(r, out, input, other, -1, alpha)


@_handles("__rsub__", "rsub")
def _rsub(r: Recorder, out: torch.Tensor, input: Any, other: Any) -> Any:
    return _combined(r, out, other, input, -1, 1)


def _combined(r: Recorder, out: torch.Tensor, a: Any, b: Any, sign: int, alpha: float) -> Any:
    """A + sign * alpha * b, where one of both may be a constant."""
    ones = np.ones(out.numel())
    if r.find(a) is None:
        return Scale(ones * sign * alpha, _spread(a, out)), _expanded(r, b, out)
    if r.find(b) is None:
        return Scale(ones, sign * alpha * _spread(b, out)), _expanded(r, a, out)
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


@_handles("mul", "multiply", "__mul__", "__rmul__")
def _mul(r: Recorder, out: torch.Tensor, input: Any, other: Any) -> Any:
    if r.find(input) is None:
        input, other = other, input
    if r.find(other) is not None:
        raise r.refusal("a product of two tensors that both follow from the input")
    factor = _spread(other, out)
    return Scale(factor, 0 * factor), _expanded(r, input, out)


@_handles("div", "divide", "true_divide", "__truediv__")
def _div(r: Recorder, out: torch.Tensor, input: Any, other: Any, rounding_mode: Any = None) -> Any:
    if r.find(other) is not None or rounding_mode is not None:
        raise r.refusal("a quotient by a tensor that follows from the input, or a rounded one")
    zeros = np.zeros(out.numel())
    if isinstance(other, int) and other > 0:
        return Scale(zeros + 1, zeros, other), _expanded(r, input, out)
    return Scale(1.0 / _spread(other, out), zeros), _expanded(r, input, out)


@_handles("neg", "negative", "__neg__")
def _neg(r: Recorder, out: torch.Tensor, input: torch.Tensor) -> Any:
    return Scale(-np.ones(out.numel()), np.zeros(out.numel())), r.value(input)


# --- entries moved, summed and averaged ----------------------------------------------------------


def _places(tensor: torch.Tensor) -> torch.Tensor:
    """The place of each entry, in the shape of the tensor."""
    return torch.arange(tensor.numel()).reshape(tensor.shape)


def _moves(
    r: Recorder, func: Callable[..., Any], args: Args, kwargs: Options, result: Any
) -> list[int]:
    """A function that only moves entries: what it does to places says what it does to numbers."""
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
) -> list[int]:
    """A change of dtype or device: the function that is counted is the real one."""
    return [r.value(args[0])]


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


@_handles("cat", "concat", "concatenate")
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


@_handles("pad", "constant_pad_nd")
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


_handles("mean")(_total(is_mean=True))
_handles("sum")(_total(is_mean=False))


def _along(tensor: torch.Tensor, dim: Any) -> NDArray[np.int64]:
    """Places that a reduction over some dimensions joins, shape (outputs, joined)."""
    n = tensor.dim()
    dims = list(range(n)) if dim is None else [d % n for d in spread(dim, None)]
    kept = [d for d in range(n) if d not in dims]
    places = _places(tensor).permute(*kept, *dims)
    return places.reshape(int(np.prod([tensor.shape[d] for d in kept])), -1).numpy()


@_handles("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
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
    n = out.dim() - 2
    windows = pool_windows(input.shape[2:], out.shape[2:], kernel_size, stride, padding, 1, n)
    index, inside = windows.over(input.shape[:2].numel())
    divisor = inside if count_include_pad else (index >= 0).sum(axis=1)
    if divisor_override:
        divisor = np.full(len(index), divisor_override, dtype=np.int64)
    return Mean(index, divisor), r.value(input)


@_handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_avg_pool(r: Recorder, out: torch.Tensor, input: torch.Tensor, size: Any) -> Any:
    index, _ = adaptive_windows(input.shape[2:], out.shape[2:]).over(input.shape[:2].numel())
    return Mean(index, (index >= 0).sum(axis=1)), r.value(input)


# --- piecewise linear maps ---------------------------------------------------------------------


def _bend(
    r: Recorder, input: torch.Tensor, knots: Any, slopes: Any, start: float
) -> tuple[Elementwise, int]:
    columns = np.array(slopes, dtype=np.float64).reshape(len(knots) + 1, -1)
    n = input.numel()
    return Elementwise(np.array(knots, dtype=np.float64), columns, start, n), r.value(input)


@_handles("relu")
def _relu(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    return relu(input.numel()), r.value(input)


@_handles("abs", "absolute", "__abs__")
def _abs(r: Recorder, out: Any, input: torch.Tensor) -> Any:
    return _bend(r, input, [0.0], [-1, 1], 0.0)


@_handles("leaky_relu")
def _leaky_relu(r: Recorder, out: Any, input: torch.Tensor, negative_slope: float = 0.01) -> Any:
    return _bend(r, input, [0.0], [negative_slope, 1], 0.0)


@_handles("prelu")
def _prelu(r: Recorder, out: torch.Tensor, input: torch.Tensor, weight: torch.Tensor) -> Any:
    shape = [1, -1] + [1] * (input.dim() - 2)
    slopes = _spread(weight if weight.numel() == 1 else weight.reshape(shape), out)
    return _bend(r, input, [0.0], [slopes, np.ones(len(slopes))], 0.0)


@_handles("hardtanh")
def _hardtanh(
    r: Recorder, out: Any, input: torch.Tensor, min_val: float = -1.0, max_val: float = 1.0
) -> Any:
    if min_val >= max_val:
        raise r.refusal(f"a hard tanh from {min_val} to {max_val}")
    return _bend(r, input, [min_val, max_val], [0, 1, 0], float(min_val))


@_handles("relu6")
def _relu6(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    return _bend(r, input, [0.0, 6.0], [0, 1, 0], 0.0)


@_handles("hardsigmoid")
def _hardsigmoid(r: Recorder, out: Any, input: torch.Tensor, inplace: bool = False) -> Any:
    op, value = _bend(r, input, [-3.0, 3.0], [0, 1, 0], 0.0)
    ones = np.ones(input.numel())
    return Scale(ones, 0 * ones, 6), r.add(op, value)


@_handles("softshrink")
def _softshrink(r: Recorder, out: Any, input: torch.Tensor, lambd: float = 0.5) -> Any:
    return _bend(r, input, [-lambd, lambd], [1, 0, 1], 0.0)


def _clamped(r: Recorder, out: Any, input: torch.Tensor, min: Any = None, max: Any = None) -> Any:
    if isinstance(min, torch.Tensor) or isinstance(max, torch.Tensor):
        raise r.refusal("clamping between tensors")
    if min is not None and max is not None:
        return _hardtanh(r, out, input, min, max)
    if min is not None:
        return _bend(r, input, [min], [0, 1], float(min))
    return _bend(r, input, [max], [1, 0], float(cast("float", max)))


_handles("clamp", "clip", "clamp_min")(_clamped)
_handles("clamp_max")(lambda r, out, input, max: _clamped(r, out, input, None, max))


@_handles("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
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
    n = out.dim() - 2
    windows = pool_windows(
        input.shape[2:], out.shape[2:], kernel_size, stride, padding, dilation, n
    )
    return Maximum(windows.over(input.shape[:2].numel())[0]), r.value(input)


@_handles("max", "amax")
def _max(r: Recorder, out: Any, input: torch.Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, torch.Tensor):
        return _maximum(r, out, input, dim)
    return Maximum(_along(input, dim)), r.value(input)


@_handles("maximum")
def _maximum(r: Recorder, out: torch.Tensor, input: torch.Tensor, other: torch.Tensor) -> Any:
    if r.find(input) is None or r.find(other) is None:
        raise r.refusal("a maximum with a tensor that does not follow from the input")
    n = out.numel()
    both = r.add(Gather(np.arange(2 * n)), _expanded(r, input, out), _expanded(r, other, out))
    return Maximum(np.arange(2 * n).reshape(2, n).T.copy()), both
