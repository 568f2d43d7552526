"""What the operators of torch do, as far as an emulation must know it.

Everything below autograd is an operator of ``torch.ops.aten``. For an emulation there are three
kinds: those that form sums of products, those whose results are operands moved, selected or
negated, so that rounding them again changes nothing, and all others, whose results are rounded as
they are stored.
"""

# torch leaves much of its interface without types.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

aten: Any = torch.ops.aten

_MOVING = (
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "t", "transpose", "permute", "expand"),
    *("clone", "detach", "detach_", "alias", "as_strided", "slice", "select", "narrow", "diagonal"),
    *("unsqueeze", "squeeze", "split", "split_with_sizes", "unbind", "chunk", "unfold", "flip"),
    *("cat", "stack", "roll", "repeat", "index", "index_select", "gather", "embedding", "take"),
    *("contiguous", "lift_fresh", "lift_fresh_copy", "view_as_real", "channel_shuffle"),
    *("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"),
    *("pixel_shuffle", "pixel_unshuffle", "select_backward", "slice_backward"),
)
_SELECTING = (
    *("relu", "relu_", "threshold_backward", "neg", "neg_", "abs", "abs_", "sign", "maximum"),
    *("minimum", "where", "max", "min", "amax", "amin", "topk", "sort", "max_pool2d_with_indices"),
    *(
        "max_pool3d_with_indices",
        "max_pool1d",
        "adaptive_max_pool2d",
        "masked_fill",
        "tril",
        "triu",
    ),
    *("masked_fill_", "zero_", "zeros", "zeros_like", "ones", "ones_like", "new_zeros", "empty"),
    *("empty_like", "new_empty", "empty_strided", "new_empty_strided", "scalar_tensor", "arange"),
    *("eye", "_local_scalar_dense", "isnan", "isfinite", "sign_", "cummax", "cummin"),
)
EXACT = frozenset(
    packet for name in (*_MOVING, *_SELECTING) if (packet := getattr(aten, name, None)) is not None
)
"""Operators whose results are numbers that went in, or such numbers negated, or 0 and 1."""

COPYING = frozenset(
    packet
    for packet in EXACT
    for overload in packet.overloads()[:1]
    if not any(each.alias_info for each in getattr(packet, overload)._schema.returns)
)
"""Those of them whose results are new tensors, and no views of what went in."""

OTHER_PRODUCTS = frozenset(
    packet
    for name in (
        *("_sparse_addmm", "_sparse_sparse_matmul", "_sparse_mm_reduce_impl", "smm", "sspaddmm"),
        *("_addmm_activation", "conv_tbc", "_cdist_forward", "_cdist_backward", "_grouped_mm"),
        *("_scaled_mm", "_scaled_grouped_mm", "_int_mm", "_weight_int8pack_mm", "matrix_exp"),
        *("_weight_int4pack_mm", "linalg_inv_ex", "_linalg_solve_ex", "triangular_solve"),
        *("linalg_solve_triangular", "linalg_lstsq", "cholesky_inverse", "cholesky_solve"),
        *("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"),
        *("_fft_r2c", "_fft_c2c", "_fft_c2r"),
    )
    if (packet := getattr(aten, name, None)) is not None
)
"""Operators that form sums of products inside, and are computed by torch all the same."""

_STATISTICS = (
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("cudnn_batch_norm", "miopen_batch_norm", "native_layer_norm", "native_group_norm"),
    *("_batch_norm_with_update", "_fused_rms_norm"),
)
FIRST_ONLY = frozenset(
    packet for name in _STATISTICS if (packet := getattr(aten, name, None)) is not None
)
"""Operators that also return statistics, which hardware keeps in a wider format than the result."""


def written_arguments(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operator writes to, lists of tensors spread out."""
    written: list[Any] = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        written += value if isinstance(value, list | tuple) else [value]
    return written


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a value that may be a tensor, or a nest of lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors_in(each)


def mapped(value: Any, change: Any) -> Any:
    """The same nest with each tensor put through a function."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*(mapped(each, change) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(mapped(each, change) for each in value)
    if isinstance(value, dict):
        return {key: mapped(each, change) for key, each in value.items()}
    return value
