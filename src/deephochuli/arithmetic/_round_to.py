"""Rounding a tensor to a format, its values carried in the tensor's own type."""

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.arithmetic._block_formats import BlockFormat, is_block_format
from deephochuli.arithmetic._blocks import round_blocks
from deephochuli.arithmetic._custom_op import (
    rounded,
    rounded_in_place,
    rounded_into,
    rounded_through,
)
from deephochuli.arithmetic._random import key_for
from deephochuli.arithmetic._spec import name_of, spec_of
from deephochuli.errors import ArithmeticSpecError, check_kind
from deephochuli.formats import Format, Overflow, Rounding
from deephochuli.kernels.rounding import StochasticKey

__all__ = ["StochasticKey", "round_to"]


def round_to(
    x: Tensor,
    fmt: Format | BlockFormat | str,
    *,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
    overflow: Overflow | str | None = None,
    key: StochasticKey | int | None = None,
    out: Tensor | None = None,
    straight_through: bool = False,
) -> Tensor:
    """Round every element of a tensor to a format, exactly and once.

    Args:
        x: float64, float32, bfloat16 or float16 tensor of any shape and strides.
        fmt: Format, or a name or specification that `get_format` knows; or a block format or its
            name, as for `round_blocks` with blocks along the last dimension.
        rounding: Mode or its name.
        overflow: What stands for a result beyond `max_finite`; `fmt.overflow` when not given.
        key: For stochastic rounding: a seed, or a `StochasticKey`.
        out: Where to put the result, a tensor like x; `out=x` rounds in place.
        straight_through: Whether gradients pass as if nothing had been rounded, those of elements
            that saturate too. Else the result has no gradient.

    Returns:
        A tensor like x whose elements are values of the format; `out` where given.
        NaN stays NaN, also in a format that has none.

    Raises:
        FormatError: The format or the mode is unknown; the policy is impossible; the type of x
            cannot hold the values of the format.
        ArithmeticSpecError: Stochastic rounding without a key; an `out` that does not fit; x is no
            tensor.

    Numerics:
        Bit for bit the result of `round_scalar`, for stochastic rounding with 32 random bits an
        element. It depends on the elements (and the key and their index in logical order) alone:
        not on memory order, thread count, device, back end, flush-to-zero flags or compilation.

    Example:
        >>> round_to(torch.tensor([1.0, 1 + 2**-9]), "bf16")
        tensor([1., 1.])
    """
    check_kind(x, Tensor, "a torch.Tensor", ArithmeticSpecError, "Cannot round")
    if is_block_format(fmt):
        return _round_blocks(x, fmt, rounding, overflow, key, out, straight_through)
    assert not isinstance(fmt, BlockFormat)
    spec = spec_of(fmt, rounding, overflow, name_of(x.dtype))
    words = _words(rounding, key)
    if out is None:
        if straight_through and x.requires_grad:
            return rounded_through(x, spec, words)
        return rounded(x.detach() if x.requires_grad else x, spec, words)
    _check_out(x, out, straight_through=straight_through)
    if out is x:
        rounded_in_place(x.detach(), spec, words)
    else:
        rounded_into(x.detach(), spec, words, out)
    return out


def _round_blocks(
    x: Tensor,
    fmt: BlockFormat | str,
    rounding: Rounding | str,
    overflow: Overflow | str | None,
    key: StochasticKey | int | None,
    out: Tensor | None,
    straight_through: bool,
) -> Tensor:
    """`round_to` for block formats, whose elements saturate whatever is asked for."""
    if overflow is not None and Overflow(overflow) is not Overflow.SATURATE:
        raise ArithmeticSpecError(
            f"Elements of block formats saturate: overflow={overflow!r} is not possible for "
            f"{fmt}. Leave it away."
        )
    if out is not None:
        _check_out(x, out, straight_through=straight_through)
    rounded = round_blocks(x, fmt, rounding=rounding, key=key, straight_through=straight_through)
    if out is None:
        return rounded
    out.detach().copy_(rounded)
    return out


def _words(rounding: Rounding | str, key: StochasticKey | int | None) -> list[int]:
    found = key_for(Rounding(rounding), key)
    return [] if found is None else list(found.words)


def _check_out(x: Tensor, out: Tensor, *, straight_through: bool) -> None:
    """Refuse a target of another kind, and one that autograd would have to know of."""
    for what, ours, theirs in (
        ("shape", tuple(x.shape), tuple(out.shape)),
        ("dtype", x.dtype, out.dtype),
        ("device", x.device, out.device),
    ):
        if ours != theirs:
            raise ArithmeticSpecError(
                f"round_to: out has the {what} {theirs}, x has {ours}; they must be the same."
            )
    wants_gradient = out.requires_grad or (straight_through and x.requires_grad)
    if torch.is_grad_enabled() and wants_gradient:
        raise ArithmeticSpecError(
            "round_to: out=... is not recorded by autograd. Call it under torch.no_grad(), or "
            "leave out away."
        )
