"""How results are computed: rounding of tensors, sums of products, a model run as if in a format."""

from __future__ import annotations

from deephochuli.arithmetic._arithmetic import (
    Arithmetic,
    Confidence,
    get_arithmetic,
    list_arithmetics,
)
from deephochuli.arithmetic._sums import Order, SumKind, Sums

__all__ = [
    "Arithmetic",
    "Confidence",
    "Order",
    "SumKind",
    "Sums",
    "get_arithmetic",
    "list_arithmetics",
]
