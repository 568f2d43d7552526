"""How a tensor lies in memory, as far as one flat read needs to know."""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from deephochuli.errors import SketchError
from deephochuli.kernels._contract import UpdateJob

FLOAT8_TYPES: tuple[torch.dtype, ...] = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
)
SUPPORTED_TYPES: tuple[torch.dtype, ...] = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    *FLOAT8_TYPES,
)
_PLAIN: Final = frozenset({torch.Tensor, torch.nn.Parameter})


class ChannelMap(NamedTuple):
    """Which channel an element belongs to: ``(flat index // inner) % n_channels``."""

    inner: int
    n_channels: int


def is_supported(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a type and a layout whose elements can be counted.

    One that merely wraps others, such as a DTensor, has no elements in memory of its own.
    """
    return (
        tensor.dtype in SUPPORTED_TYPES
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_quantized
        and (type(tensor) in _PLAIN or not is_traceable_wrapper_subclass(tensor))
    )


def dense(tensor: torch.Tensor, channel_dim: int | None = None) -> torch.Tensor:
    """Return a tensor whose elements fill one run of memory; a copy only where they do not yet.

    Args:
        tensor: Floating-point tensor of any shape, any memory order.
        channel_dim: Dimension that a caller wants to count apart; negative counts from the end.

    Raises:
        SketchError: Type or layout cannot be counted, or there is no such dimension.
    """
    if not is_supported(tensor):
        raise SketchError(
            f"Cannot summarise a tensor of dtype {tensor.dtype}, layout {tensor.layout}, on "
            f"{tensor.device}: expected a strided tensor with data, of one of "
            f"{', '.join(map(str, SUPPORTED_TYPES))}."
        )
    if channel_dim is not None and not -tensor.dim() <= channel_dim < tensor.dim():
        raise SketchError(
            f"Cannot count channels along dimension {channel_dim} of a tensor of shape "
            f"{tuple(tensor.shape)}: it has {tensor.dim()} dimensions."
        )
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.is_neg():  # a view whose signs are still to be turned, made by complex conjugation
        tensor = tensor.resolve_neg()
    if tensor.is_contiguous() or _is_dense(tensor):
        return tensor
    return tensor.contiguous()


def update_tensors(job: UpdateJob) -> list[torch.Tensor]:
    """After, before and, if there is one, the gradient, each dense.

    Raises:
        SketchError: A tensor cannot be counted, or the shapes differ.
    """
    given = [job.after, job.before, *([] if job.gradient is None else [job.gradient])]
    shapes = [tuple(tensor.shape) for tensor in given]
    if any(shape != shapes[0] for shape in shapes):
        raise SketchError(
            "Cannot summarise an update of tensors of different shapes: after, before"
            f"{', gradient' if len(given) > 2 else ''} have {', '.join(map(str, shapes))}."
        )
    return [dense(tensor) for tensor in given]


def channel_map(tensor: torch.Tensor, channel_dim: int) -> ChannelMap:
    """The channels of a dense tensor that is not empty."""
    n_channels = tensor.shape[channel_dim]
    inner = tensor.numel() if n_channels == 1 else tensor.stride(channel_dim)
    return ChannelMap(inner, n_channels)


@functools.cache
def table_of(dtype: torch.dtype) -> NDArray[np.uint32]:
    """Binary32 patterns of all 256 codes of an eight-bit type; all different, NaNs too."""
    codes = torch.arange(256, dtype=torch.uint8, device="cpu")
    table = codes.view(dtype).to(torch.float32).numpy().view(np.uint32).copy()
    is_nan = (table & 0x7FFFFFFF) > 0x7F800000
    table[is_nan] = 0x7FC00000 | np.flatnonzero(is_nan).astype(np.uint32)
    return table


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill one run of memory, in whatever order of the dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
