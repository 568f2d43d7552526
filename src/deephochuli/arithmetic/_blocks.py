"""Rounding to block formats: narrow elements that share a scale."""

# torch says little about the types of its operators.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor

from deephochuli.arithmetic._block_fast import round_easy_blocks, round_easy_blocks_by_values
from deephochuli.arithmetic._block_formats import BlockFormat, get_block_format
from deephochuli.arithmetic._block_work import (
    round_scaled_by_powers,
    round_scaled_by_values,
    unit_of,
)
from deephochuli.arithmetic._custom_op import LIBRARY, define, key_of, like
from deephochuli.arithmetic._random import key_for
from deephochuli.arithmetic._spec import name_of, plan_of, spec_of
from deephochuli.errors import ArithmeticSpecError, check_kind
from deephochuli.formats import Overflow, Rounding
from deephochuli.kernels.rounding import CARRIERS, StochasticKey


def round_blocks(
    x: Tensor,
    fmt: BlockFormat | str,
    *,
    dim: int = -1,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    key: StochasticKey | int | None = None,
    tensor_scale: float | Literal["amax"] | None = None,
    straight_through: bool = False,
) -> Tensor:
    """Round a tensor to a block format and give the values that its codes stand for.

    Args:
        x: float64, float32, bfloat16 or float16 tensor.
        fmt: Block format or its name, see `list_block_formats`.
        dim: Dimension along which the elements of a block lie; the last block may be shorter.
        rounding: Mode of the elements. Scales are rounded to nearest, ties to even.
        key: For stochastic rounding, as in `round_to`.
        tensor_scale: For formats whose scale is no power of two (NVFP4): a number that all scales
            are multiples of; "amax" for the largest magnitude of x over the largest number that
            an element with its scale can be, rounded to binary32; 1 when not given.
        straight_through: As in `round_to`.

    Returns:
        A tensor like x. A block that holds a NaN or an infinity becomes NaN, with the tensor scale
        "amax" all of x. Elements saturate.

    Raises:
        ArithmeticSpecError: The format is unknown, the tensor has no dimension to lie along, or a
            tensor scale is given to a format that has none, or is not a positive number.

    Numerics:
        MX: the scale is 2^(floor(log2 amax) - emax), clamped to 2^-127 .. 2^127 (OCP MX 1.0, 6.3);
        scaling is exact, elements are rounded once, and results are values of the type of x.
        NVFP4: the scale is amax / (6 tensor_scale), formed in binary64 and rounded to E4M3, where
        448 saturates; x / (scale tensor_scale) is formed in binary64 and rounded to E2M1; the
        product of the three is rounded once to the type of x. For types up to float32 the element
        is the one that the exact quotient would give.

    Example:
        >>> round_blocks(torch.tensor([1.0, 0.3, -7.0]), "mxfp4")
        tensor([ 1.0000,  0.5000, -6.0000])
    """
    chosen = get_block_format(fmt)
    _check(x, chosen, tensor_scale)
    mode = Rounding(rounding)
    words = key_for(mode, key)
    element, scale = _specs_of(fmt, mode)
    unit = 0.0 if tensor_scale == "amax" else 1.0 if tensor_scale is None else tensor_scale
    arguments = element, scale, chosen.block, dim, [] if words is None else list(words.words), unit
    if straight_through and x.requires_grad:
        return _through(x, *arguments)
    return _blocks(x.detach() if x.requires_grad else x, *arguments)


@torch.compiler.assume_constant_result
def _specs_of(fmt: BlockFormat | str, mode: Rounding) -> tuple[str, str]:
    """What operators are told of the elements and of the scale, "" for a power of two.

    From what the user has given: the compiler of torch 2.11 cannot pass the formats of a block
    format on as constants.
    """
    return _specs(get_block_format(fmt), mode)


@functools.lru_cache(maxsize=512)
def _specs(chosen: BlockFormat, mode: Rounding) -> tuple[str, str]:
    element = spec_of(chosen.element, mode, Overflow.SATURATE, "float64")
    if chosen.has_power_of_two_scale:
        return element, ""
    return element, spec_of(chosen.scale, Rounding.NEAREST_EVEN, Overflow.SATURATE, "float64")


def _check(x: Tensor, fmt: BlockFormat, tensor_scale: float | Literal["amax"] | None) -> None:
    check_kind(x, Tensor, "a torch.Tensor", ArithmeticSpecError, "Cannot round")
    if name_of(x.dtype) not in CARRIERS or x.dim() == 0:
        raise ArithmeticSpecError(
            f"Cannot round a {name_of(x.dtype)} tensor of shape {tuple(x.shape)} to {fmt}: "
            f"expected one of {', '.join(CARRIERS)}, with a dimension along which blocks lie."
        )
    if tensor_scale is None:
        return
    if fmt.has_power_of_two_scale:
        raise ArithmeticSpecError(f"{fmt} has no scale of the whole tensor; leave it away.")
    if tensor_scale != "amax" and not 0 < tensor_scale < math.inf:
        raise ArithmeticSpecError(
            f"tensor_scale={tensor_scale!r} must be a positive number, or 'amax'."
        )


def _round_blocks(
    x: Tensor, element: str, scale: str, block: int, dim: int, key: Sequence[int], unit: float
) -> Tensor:
    plan, words = plan_of(element, torch.float64), key_of(key)
    if scale:
        other = plan_of(scale, torch.float64)
        unit = unit or unit_of(x, plan, other)
        rounded = round_easy_blocks_by_values(x, plan, other, block, dim, words, unit)
        if rounded is not None:
            return rounded
        rounded = round_scaled_by_values(x, plan, other, block, dim, words, unit)
    else:
        rounded = round_easy_blocks(x, plan, block, dim, words)
        if rounded is not None:
            return rounded
        rounded = round_scaled_by_powers(x, plan, block, dim, words)
    return torch.empty_like(x).copy_(rounded)


def _straight_through(_: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return gradient, None, None, None, None, None, None


_ARGUMENTS: Final = (
    "(Tensor x, str element, str scale, int block, int dim, int[] key, float unit) -> Tensor"
)
_blocks: Final = define(f"round_blocks{_ARGUMENTS}", _round_blocks, like)
_through: Final = define(f"round_blocks_straight_through{_ARGUMENTS}", _round_blocks, like)
torch.library.register_autograd(
    "deephochuli::round_blocks_straight_through", _straight_through, lib=LIBRARY
)
