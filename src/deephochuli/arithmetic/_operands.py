"""Rounding of operands and results of products, and sums of products in the carrier."""

from __future__ import annotations

import torch
from torch import Tensor

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._plans import plan_of
from deephochuli.arithmetic._round_to import round_to
from deephochuli.arithmetic._sums import SumKind
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import BINARY32, BINARY64, Format, Rounding, format_of_dtype
from deephochuli.kernels.products import add_rounded, multiply, round_values


def to_format(x: Tensor, fmt: Format | None, rounding: Rounding | str) -> Tensor:
    """Values of a format in the dtype of x; x itself where all of its values are."""
    if fmt is None or _holds(fmt, x.dtype):
        return x
    if x.dtype in (torch.float32, torch.float64):
        return round_to(x, fmt, rounding=rounding)
    return round_values(x, fmt, Rounding(rounding))


def to_inputs(x: Tensor, arithmetic: Arithmetic, *, is_gradient: bool = False) -> Tensor:
    """An operand of a product, as the arithmetic rounds it."""
    fmt = arithmetic.inputs
    if is_gradient and arithmetic.gradient_inputs is not None:
        fmt = arithmetic.gradient_inputs
    return to_format(x, fmt, arithmetic.input_rounding)


def to_output(x: Tensor, arithmetic: Arithmetic, dtype: torch.dtype) -> Tensor:
    """A result of a product, as the arithmetic rounds it, in some dtype."""
    return to_format(x, arithmetic.output, arithmetic.rounding).to(dtype)


def to_carrier(x: Tensor, arithmetic: Arithmetic) -> Tensor:
    """An operand of a sum that torch forms, in the dtype that it is formed in.

    Narrower tensors stay as they are where sums are in fp32: torch adds them up in fp32 itself.
    """
    if arithmetic.sums.format == BINARY64:
        return x.double()
    return x.float() if x.dtype == torch.float64 else x


def check_operands(a: Tensor, b: Tensor, what: str) -> torch.dtype:
    """Refuse operands that no product can be formed of; give the dtype of the result."""
    for x in (a, b):
        if not x.is_floating_point():
            raise ArithmeticSpecError(
                f"{what} of {a.dtype} and {b.dtype}: an arithmetic knows floating-point operands "
                "only. Convert them first."
            )
    return torch.promote_types(a.dtype, b.dtype)


def product_of(a: Tensor, b: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """(batch, M, K) times (batch, K, N), of rounded operands, plus a bias; in the carrier."""
    if arithmetic.sums.kind is SumKind.NATIVE and a.shape[0] == 1:
        return _native(a[0], b[0], bias, arithmetic).unsqueeze(0)
    total = raw_product(a, b, arithmetic)
    return total if bias is None else add_bias(total, bias, arithmetic)


def _native(a: Tensor, b: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> Tensor:
    """The operations that torch itself would use, since their orders differ."""
    a, b = to_carrier(a, arithmetic), to_carrier(b, arithmetic)
    return torch.mm(a, b) if bias is None else torch.addmm(bias.to(a.dtype), a, b)


def raw_product(a: Tensor, b: Tensor, arithmetic: Arithmetic) -> Tensor:
    """(batch, M, K) times (batch, K, N), of rounded operands, in the carrier; not rounded after."""
    if arithmetic.sums.kind is SumKind.NATIVE:
        return torch.bmm(to_carrier(a, arithmetic), to_carrier(b, arithmetic))
    plan = plan_of(arithmetic)
    return multiply(plan, a.to(plan.dtype), b.to(plan.dtype))


def add_bias(total: Tensor, bias: Tensor, arithmetic: Arithmetic) -> Tensor:
    """Results of products plus a bias that broadcasts, rounded once.

    To the format of the sums, or of their second level; tensor cores leave the bias to the
    ordinary units, which round to fp32 unless the results are narrower than that.
    """
    sums = arithmetic.sums
    fmt = sums.outer or sums.format
    if sums.kind in (SumKind.ALIGNED, SumKind.EXACT) and fmt.emax > 15:
        fmt = BINARY64 if fmt == BINARY64 else BINARY32
    return add_rounded(total, bias.to(total.dtype), fmt)


def _holds(fmt: Format, dtype: torch.dtype) -> bool:
    """Whether a format holds all values of a dtype."""
    own = format_of_dtype(str(dtype))
    return (
        fmt.precision >= own.precision
        and fmt.emin - fmt.precision <= own.emin - own.precision
        and fmt.emax >= own.emax
        and fmt.has_infinities >= own.has_infinities
    )
