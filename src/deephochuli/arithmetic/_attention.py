"""Attention as an arithmetic computes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._products import matmul
from deephochuli.errors import ArithmeticSpecError


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    arithmetic: Arithmetic,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention whose two products are formed by an arithmetic.

    Args:
        q: (..., L, E).
        k: (..., S, E).
        v: (..., S, V).
        arithmetic: How operands and results are rounded and products are added.
        attn_mask: Added to the scores, or, where it is boolean, says which scores count.
        is_causal: Whether position i sees positions up to i only; not with a mask.
        scale: Factor of the scores; 1 / sqrt(E) when not given.
        dropout_p: Share of weights that is set to zero, drawn from torch's generator.
        enable_gqa: Whether several query heads share one key and value head.

    Returns:
        (..., L, V), as `torch.nn.functional.scaled_dot_product_attention`.

    Raises:
        ArithmeticSpecError: The shapes do not fit, or both a mask and `is_causal` are given.

    Numerics:
        Scores and weighted sums as in `matmul`. Scale, mask and softmax are torch's, in the dtype
        of the operands, on the whole matrix of scores: no fused kernel's order is followed.
    """
    if enable_gqa and q.shape[-3] % k.shape[-3]:
        raise ArithmeticSpecError(
            f"{q.shape[-3]} query heads cannot share {k.shape[-3]} key heads evenly."
        )
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    if is_causal and attn_mask is not None:
        raise ArithmeticSpecError("Attention takes attn_mask or is_causal=True, not both.")
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = matmul(q, k.mT, arithmetic) * factor
    if is_causal:
        size = (q.shape[-2], k.shape[-2])
        attn_mask = torch.ones(size, dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = functional.dropout(scores.softmax(-1), dropout_p)
    return matmul(weights, v, arithmetic)
