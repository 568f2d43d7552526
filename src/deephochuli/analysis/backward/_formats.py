"""Which format a gradient has to fit into under an arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from deephochuli.analysis.compare import Executor
from deephochuli.arithmetic import Arithmetic, get_arithmetic
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import Format, format_of_dtype

_NATIVE = ("fp64", "fp32", "native")
"""Executions by torch itself that bear, or could bear, the name of an arithmetic."""


@dataclass(frozen=True, slots=True)
class GradientFormats:
    """The formats of an arithmetic that gradients pass through.

    Attributes:
        stored: What a gradient is kept in between operators; None: its dtype.
        operand: What it is rounded to on its way into a product; None: it stays as it is.
    """

    stored: Format | None
    operand: Format | None

    def of_parameter(self, dtype: torch.dtype) -> Format:
        """The format of a parameter's gradient."""
        return self.stored or format_of_dtype(str(dtype))

    def of_chain(self, dtype: torch.dtype) -> Format:
        """The narrowest format that a gradient meets on its way down the layers."""
        stored = self.of_parameter(dtype)
        return narrowest([stored] if self.operand is None else [stored, self.operand])


def narrowest(formats: Iterable[Format]) -> Format:
    """The format with the smallest dynamic range."""
    return min(formats, key=lambda fmt: fmt.max_finite / fmt.smallest_subnormal)


def arithmetic_of(spec: Executor | Arithmetic | nn.Module | str) -> Arithmetic | None:
    """The arithmetic that an execution emulates; None for what torch computes itself."""
    if isinstance(spec, Arithmetic):
        return spec
    if not isinstance(spec, str) or spec in _NATIVE:
        return None
    try:
        return get_arithmetic(spec)
    except ArithmeticSpecError:
        return None


def formats_of(arithmetic: Arithmetic | None) -> GradientFormats:
    """The formats that gradients pass through in an arithmetic."""
    if arithmetic is None:
        return GradientFormats(None, None)
    products = arithmetic.backward or arithmetic
    return GradientFormats(
        arithmetic.gradients or products.output,
        products.gradient_inputs or products.inputs,
    )
