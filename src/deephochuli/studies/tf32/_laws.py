"""What theory says of the ratio of TF32's errors to those of FP32."""

from __future__ import annotations

import math
from itertools import accumulate

CUT = 2.62
"""Errors of cut operands over those of rounded ones: sqrt(0.621 / 0.090), from the second moments
of the sums of two relative errors, of cut and of rounded operands of any size, over 2^-20."""


def ratio(k: int, block: int | None = None, nonzero: float = 1.0) -> float:
    """Ratio of the rms errors of a sum of K products with TF32 operands and with FP32 ones.

    Args:
        k: Products in one sum.
        block: How many are added one after the other before their sum is; None for all.
        nonzero: Share of the products that are not zero.

    Numerics:
        An operand of any size has the relative rms rounding error 0.425 * 2^-p, so TF32's products
        have 0.60 * 2^-11 sigma each, and their sum that times sqrt(nonzero K). An FP32 addition to
        a partial sum of j such products errs by 0.425 * 2^-24 sigma sqrt(j). Over the additions
        inside blocks of b_i products and over those of the blocks' sums, of which the first i hold
        s_i products, the variances add up, and the ratio is 2^14 sqrt(K / (nonzero sum b_i^2 + 2
        sum s_i)), i from 2 on in the last sum: 2^14 / sqrt(nonzero K) for one block, about 2^14 /
        sqrt(nonzero K_b + K / K_b + 1) for many of K_b.

    Example:
        >>> round(ratio(4096)), round(ratio(2304, 384)), round(ratio(2304, 192))
        (256, 829, 1145)
    """
    size = min(block or k, k)
    blocks = [size] * (k // size) + ([k % size] if k % size else [])
    inside = nonzero * sum(b * b for b in blocks)
    outside = 2 * sum(list(accumulate(blocks))[1:])
    return 2**14 * math.sqrt(k / (inside + outside))
