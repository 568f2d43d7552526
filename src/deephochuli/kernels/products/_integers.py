"""Exact sums of products in Python's integers, for what fits into no machine word."""

# Arrays of Python's integers carry no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephochuli.formats import round_scalar
from deephochuli.kernels.products._plan import ProductPlan

# Twice the exponent of the smallest binary64 number: every product is a whole number of these.
_UNIT = 2148
_HALF = _UNIT // 2


def exact_sum(
    plan: ProductPlan,
    a: torch.Tensor,
    b: torch.Tensor,
    start: torch.Tensor,
    block: int | None = None,
) -> torch.Tensor:
    """Join blocks of products to the sum so far, each rounded once."""
    total = start
    size = block or plan.block or max(1, a.shape[2])
    for first in range(0, a.shape[2], size):
        part = slice(first, first + size)
        total = torch.stack(
            [_block(plan, x[:, part], y[part], z) for x, y, z in zip(a, b, total, strict=True)]
        )
    return total


def _block(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, total: torch.Tensor
) -> torch.Tensor:
    x, y, z = (np.asarray(each.cpu()) for each in (a, b, total))
    rows, columns = np.isfinite(x).all(axis=1), np.isfinite(y).all(axis=0)
    finite = np.logical_and.outer(rows, columns) & np.isfinite(z)
    exact = _whole(x) @ _whole(y) + _whole(z) * (1 << _HALF)
    result = np.array([[_rounded(plan, int(v)) for v in row] for row in exact]).reshape(z.shape)
    negative = (exact == 0) & _is_negative_zero(x, y, z)
    result = np.where(negative, -0.0, result)
    return torch.from_numpy(np.where(finite, result, _special(x, y, z))).to(a.device)


def _whole(x: NDArray[np.float64]) -> NDArray[Any]:
    """Finite numbers as whole multiples of 2^-1074; others as 0."""
    flat = [
        int(Fraction(v) * (1 << _HALF)) if np.isfinite(v) else 0 for v in x.reshape(-1).tolist()
    ]
    whole = np.empty(len(flat), dtype=object)
    whole[:] = flat
    return whole.reshape(x.shape)


def _rounded(plan: ProductPlan, value: int) -> float:
    mode = plan.rounding
    return round_scalar(Fraction(value, 1 << _UNIT), plan.format, mode)


def _is_negative_zero(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether all addends are -0, which alone adds up to -0 in rounding to nearest."""
    products_all = np.ones(z.shape, dtype=bool)
    for k in range(x.shape[1]):
        product_sign = np.signbit(x[:, k])[:, None] ^ np.signbit(y[k])[None]
        products_all &= product_sign & ((x[:, k] == 0)[:, None] | (y[k] == 0)[None])
    return products_all & np.signbit(z) & (z == 0)


def _special(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a sum with infinities or NaN is: no finite product may turn infinite on the way."""
    with np.errstate(invalid="ignore"):
        signs = [np.where(np.isfinite(each), np.sign(each), each) for each in (x, y)]
        return np.where(np.isfinite(z), 0.0, z) + signs[0] @ signs[1]
