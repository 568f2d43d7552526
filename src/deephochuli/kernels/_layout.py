"""How a tensor lies in memory, as far as one flat read needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from deephochuli.errors import SketchError

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


@dataclass(frozen=True, slots=True)
class Flat:
    """A tensor as one dense run of elements.

    Attributes:
        tensor: One-dimensional view (or, for a tensor with holes, copy) of all elements.
        inner: Stride of the channel dimension in elements; 0 without channels.
        n_channels: Size of the channel dimension; 0 without channels.
    """

    tensor: torch.Tensor
    inner: int
    n_channels: int


def is_supported(tensor: torch.Tensor) -> bool:
    """Whether a tensor has a type and a layout whose elements can be counted."""
    return (
        tensor.dtype in SUPPORTED_TYPES
        and tensor.layout == torch.strided
        and not tensor.is_meta
        and not tensor.is_quantized
    )


def flatten(tensor: torch.Tensor, channel_dim: int | None = None) -> Flat:
    """Read a tensor as one dense run of elements, without a copy where its elements are dense.

    Args:
        tensor: Strided floating-point tensor of any shape, any memory order.
        channel_dim: Dimension whose entries are counted apart; negative counts from the end.

    Raises:
        SketchError: Type or layout cannot be counted, or there is no such dimension.
    """
    tensor = tensor.detach()
    if not is_supported(tensor):
        raise SketchError(
            f"Cannot summarise a tensor of dtype {tensor.dtype} and layout {tensor.layout}: "
            f"expected a strided tensor of one of {', '.join(map(str, SUPPORTED_TYPES))}."
        )
    if channel_dim is not None and not -tensor.dim() <= channel_dim < tensor.dim():
        raise SketchError(
            f"Cannot count channels along dimension {channel_dim} of a tensor of shape "
            f"{tuple(tensor.shape)}: it has {tensor.dim()} dimensions."
        )
    if not _is_dense(tensor):
        tensor = tensor.contiguous()
    if channel_dim is None or tensor.numel() == 0:
        inner = n_channels = 0
    else:
        inner, n_channels = tensor.stride(channel_dim), tensor.shape[channel_dim]
        if n_channels == 1:
            inner = tensor.numel()
    return Flat(tensor.as_strided((tensor.numel(),), (1,)), inner, n_channels)


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill one run of memory, in whatever order of the dimensions."""
    if tensor.is_contiguous() or tensor.numel() == 0:
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True
