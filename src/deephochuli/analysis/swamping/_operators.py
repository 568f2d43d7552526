"""The reductions inside each operator of torch, forward and backward."""

# Operators of torch have no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deephochuli.analysis.swamping._reductions import (
    Geometry,
    Reduction,
    convolution,
    correlation,
    entries,
    over,
    product,
    rows,
    transposed,
    with_bias,
)

_aten: Any = torch.ops.aten

Finder = Callable[..., list[Reduction]]
"""Takes the arguments of an operator, its result, and the name of a product's gradient."""

Role = Callable[[Tensor, Tensor], str]
"""Names the product of two matrices: "forward", or which gradient it is."""


def reductions_of(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    out: Any,
    is_backward: bool,
    role: Role,
) -> list[Reduction]:
    """The reductions of more than one addend that an operator has just done."""
    find = _FINDERS.get(func.overloadpacket)
    operands = [each for each in args if isinstance(each, Tensor)]
    if find is None or not all(each.numel() for each in operands):
        return []
    found = find(args, kwargs, out, is_backward, role)
    return [each for each in found if each.n_addends > 1 and each.n_outputs > 0]


def _mm(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    """``mm``, ``bmm``, ``mv``, ``dot``, ``vdot``."""
    a, b = args
    if not a.is_floating_point():
        return []
    left = a if a.dim() > 1 else a[None]
    right = b if b.dim() > 1 else b[:, None]
    return [product(role(a, b), left, right)]


def _addmm(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    """A product plus a matrix or a bias; with factors, or a matrix written over, the product."""
    bias, a, b = args[:3]
    if not a.is_floating_point():
        return []
    found = product(role(a, b), a, b)
    is_plain = kwargs.get("beta", 1) == 1 and kwargs.get("alpha", 1) == 1
    if not is_plain or out is bias:
        return [found]
    spread = bias.detach().expand(out.shape)

    def bias_of(index: Tensor) -> Tensor:
        return spread[torch.unravel_index(index, out.shape)]

    return [found, with_bias(found, bias_of)]


def _geometry(stride: Any, padding: Any, dilation: Any, groups: int, n_dims: int) -> Geometry:
    each = [tuple(v) * n_dims if len(v) == 1 else tuple(v) for v in (stride, padding, dilation)]
    return Geometry(each[0], each[1], each[2], groups)


def _convolution(
    args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role
) -> list[Reduction]:
    x, w, bias, stride, padding, dilation, is_transposed, _, groups = args[:9]
    geometry = _geometry(stride, padding, dilation, groups, w.dim() - 2)
    if is_transposed:
        found = transposed("forward", x, w, geometry, out.shape[2:])
    else:
        found = convolution("forward", x, w, geometry)
    if bias is None:
        return [found]

    def bias_of(index: Tensor) -> Tensor:
        return bias.detach()[torch.unravel_index(index, out.shape)[1]]

    return [found, with_bias(found, bias_of)]


def _convolution_backward(
    args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role
) -> list[Reduction]:
    g, x, w, _, stride, padding, dilation, is_transposed, _, groups, wanted = args[:11]
    geometry = _geometry(stride, padding, dilation, groups, w.dim() - 2)
    found: list[Reduction] = []
    if wanted[0]:
        name = "input gradient"
        found.append(
            convolution(name, g, w, geometry)
            if is_transposed
            else transposed(name, g, w, geometry, x.shape[2:])
        )
    if wanted[1]:
        pair = (x, g) if is_transposed else (g, x)
        found.append(correlation("weight gradient", *pair, w.shape[2:], geometry))
    if wanted[2]:
        found.append(over("bias gradient", g, [d for d in range(g.dim()) if d != 1]))
    return found


def _sum(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    x = args[0]
    if not x.is_floating_point() or not x.dim():
        return []
    dims = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else kwargs.get("dim")
    return [over("bias gradient" if is_backward else "sum", x, dims or range(x.dim()))]


def _add(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    a, b = args[:2]
    pair = isinstance(a, Tensor) and isinstance(b, Tensor) and kwargs.get("alpha", 1) == 1
    if not pair or not (a.is_floating_point() and b.is_floating_point()) or not out.dim():
        return []
    is_bias = a.shape != b.shape
    name = "gradient joint" if is_backward else "bias add" if is_bias else "residual add"
    return [entries(name, a, b)]


def _statistics(x: Tensor) -> list[Reduction]:
    """The sums of a normalisation over each row."""
    mean = x.double().mean(1, keepdim=True)
    deviation = (x - mean).to(x.dtype)
    return [rows("mean", x), rows("variance", deviation, deviation)]


def _batch_norm(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    is_training = args[3] if isinstance(args[3], bool) else args[5]
    return _statistics(_by_channel(args[0])) if is_training else []


def _layer_norm(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    x, shape = args[:2]
    return _statistics(x.detach().flatten(-len(shape)).flatten(0, -2))


def _group_norm(args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role) -> list[Reduction]:
    x, n, groups = args[0], args[3], args[6]
    return _statistics(x.detach().reshape(n * groups, -1))


def _by_channel(x: Tensor) -> Tensor:
    return x.detach().transpose(0, 1).flatten(1)


def _affine_gradients(g: Tensor, normalised: Tensor) -> list[Reduction]:
    """Gradients of the scale and the shift of each row."""
    return [rows("weight gradient", g, normalised.to(g.dtype)), rows("bias gradient", g)]


def _batch_norm_backward(
    args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role
) -> list[Reduction]:
    g, x, _, _, _, mean, inverse, is_training = args[:8]
    if not is_training:
        return []
    x, g = _by_channel(x), _by_channel(g)
    return _affine_gradients(g, (x - mean[:, None]) * inverse[:, None])


def _layer_norm_backward(
    args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role
) -> list[Reduction]:
    g, x, shape, mean, inverse, weight = args[:6]
    flat = [each.detach().flatten(-len(shape)).flatten(0, -2) for each in (g, x)]
    normalised = (flat[1] - mean.view(-1, 1)) * inverse.view(-1, 1)
    scaled = flat[0] if weight is None else flat[0] * weight.detach().flatten()
    inner = [rows("input gradient", scaled, normalised.to(scaled.dtype))]
    return inner + ([] if weight is None else _affine_gradients(flat[0].T, normalised.T))


def _group_norm_backward(
    args: Any, kwargs: Any, out: Any, is_backward: bool, role: Role
) -> list[Reduction]:
    g, x, mean, inverse, weight, n, channels, _, groups = args[:9]
    if weight is None:
        return []
    x = x.detach().reshape(n, groups, -1)
    normalised = (x - mean.view(n, groups, 1)) * inverse.view(n, groups, 1)
    normalised = normalised.reshape(n, channels, -1).transpose(0, 1).flatten(1)
    return _affine_gradients(
        g.detach().reshape(n, channels, -1).transpose(0, 1).flatten(1), normalised
    )


_FINDERS: dict[Any, Finder] = {
    _aten.mm: _mm,
    _aten.bmm: _mm,
    _aten.mv: _mm,
    _aten.dot: _mm,
    _aten.vdot: _mm,
    _aten.addmm: _addmm,
    _aten.addmm_: _addmm,
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
    _aten.sum: _sum,
    _aten.mean: _sum,
    _aten.add: _add,
    _aten.add_: _add,
    _aten.native_batch_norm: _batch_norm,
    _aten._native_batch_norm_legit: _batch_norm,
    _aten.cudnn_batch_norm: _batch_norm,
    _aten.native_layer_norm: _layer_norm,
    _aten.native_group_norm: _group_norm,
    _aten.native_batch_norm_backward: _batch_norm_backward,
    _aten.native_layer_norm_backward: _layer_norm_backward,
    _aten.native_group_norm_backward: _group_norm_backward,
}

OPAQUE = frozenset(
    packet
    for name in (
        *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
        *("_scaled_dot_product_efficient_attention", "mkldnn_rnn_layer", "_cudnn_rnn"),
        *("_thnn_fused_lstm_cell", "baddbmm", "_fused_rms_norm", "cudnn_batch_norm_backward"),
        *("baddbmm_", "addbmm", "addbmm_", "addmv", "addmv_", "_trilinear", "conv_tbc"),
        *("_fft_r2c", "_fft_c2c", "_fft_c2r", "_cdist_forward", "_sparse_addmm", "cumsum"),
        *("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
        *("index_add", "index_add_", "scatter_add", "scatter_add_", "_embedding_bag"),
        *("embedding_dense_backward", "mkldnn_rnn_layer_backward"),
    )
    if (packet := getattr(_aten, name, None)) is not None
)
"""Operators with sums inside that are not replayed; they are named in the result."""
