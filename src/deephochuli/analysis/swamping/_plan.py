"""In which orders and formats sums are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from deephochuli.arithmetic import Arithmetic, Order, SumKind, Sums, get_arithmetic
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import (
    BINARY32,
    BINARY64,
    Format,
    Rounding,
    format_of_dtype,
    get_format,
    round_array,
)
from deephochuli.kernels.addends import ORDERS, Addends, Replay

Float64s = npt.NDArray[np.float64]
BLOCK = 32


@dataclass(frozen=True, slots=True)
class Way:
    """One way to form sums.

    Attributes:
        order: "sequential", "pairwise" or "blocked".
        block: Addends in a block of a blocked sum.
        format: Format of the partial sums; None: FP32, or FP64 where the operands are FP64.
        rounding: Of the partial sums.
        fused: Whether products are added without being rounded before.
        inputs: Format that operands are rounded to; None: they stay as they are.
        input_rounding: How they are.
        aligned: How tensor cores sum products; other sums are then sequential.
    """

    order: str
    block: int = BLOCK
    format: Format | None = None
    rounding: Rounding = Rounding.NEAREST_EVEN
    fused: bool = False
    inputs: Format | None = None
    input_rounding: Rounding = Rounding.NEAREST_EVEN
    aligned: Sums | None = None

    def replayed(self, a: Float64s, b: Float64s | None, fmt: Format) -> tuple[Addends, Replay]:
        """Replay sums of the products of two matrices, or of one matrix."""
        addends = Addends(self.operand(a), None if b is None else self.operand(b))
        if self.aligned is None or b is None:
            made = addends.replay(
                fmt,
                order=self.addition_order,
                block=self.block,
                fused=self.fused,
                rounding=self.rounding,
            )
            return addends, made
        sums = self.aligned
        made = addends.replay_aligned(
            fmt,
            inputs=self.inputs or BINARY32,
            block=self.block,
            fraction_bits=sums.fraction_bits or 0,
            rounding=self.rounding,
            alignment=sums.alignment,
            zero_exponent=sums.zero_exponent,
            chunk=sums.chunk,
            outer=sums.outer,
        )
        return addends, made

    @property
    def addition_order(self) -> str:
        """Order of sums that are no products."""
        return "sequential" if self.aligned is not None else self.order

    def format_for(self, dtype: torch.dtype, is_stored: bool) -> Format:
        """Format of the partial sums of operands of a dtype."""
        if self.format is not None:
            return self.format
        own = format_of_dtype(str(dtype))
        return own if is_stored or own == BINARY64 else BINARY32

    def operand(self, values: Float64s) -> Float64s:
        """Operands as they enter the products."""
        if self.inputs is None:
            return values
        return round_array(values, self.inputs, self.input_rounding)


@dataclass(frozen=True, slots=True)
class Plan:
    """Ways to form the sums of the forward and of the backward; the first one makes findings."""

    name: str
    forward: tuple[Way, ...]
    backward: tuple[Way, ...]


def plan_of(
    arithmetic: Arithmetic | str | None, format: Format | str | None, orders: Sequence[str] | None
) -> Plan:
    """Understand what was asked for.

    Raises:
        ArithmeticSpecError: The arithmetic or an order is unknown, or cannot be replayed.
    """
    if arithmetic is None:
        fmt = get_format(format) if isinstance(format, str) else format
        ways = tuple(Way(order, format=fmt) for order in orders or ORDERS)
        return Plan("", ways, ways)
    if format is not None:
        raise ArithmeticSpecError(
            "Give an arithmetic or a format of the partial sums, not both: an arithmetic has one."
        )
    found = get_arithmetic(arithmetic)
    backward = found.backward or found
    return Plan(found.name, _ways(found, orders, False), _ways(backward, orders, True))


def _ways(
    arithmetic: Arithmetic, orders: Sequence[str] | None, is_backward: bool
) -> tuple[Way, ...]:
    sums = arithmetic.sums
    inputs = arithmetic.inputs
    if is_backward and arithmetic.gradient_inputs is not None:
        inputs = _wider(arithmetic.gradient_inputs, inputs)

    def way(order: str, block: int, fused: bool) -> Way:
        fmt, rounding = sums.format, Rounding(sums.rounding)
        return Way(order, block, fmt, rounding, fused, inputs, Rounding(arithmetic.input_rounding))

    if sums.kind is SumKind.NATIVE:
        return tuple(way(order, BLOCK, False) for order in orders or ORDERS)
    is_plain = sums.late_bits is None and not sums.split and sums.order is Order.SEQUENTIAL
    if sums.kind is SumKind.ALIGNED and is_plain:
        rounding, fmt = Rounding(sums.rounding), sums.format
        own = Rounding(arithmetic.input_rounding)
        block = sums.block or 1
        return (Way("aligned", block, fmt, rounding, False, inputs, own, aligned=sums),)
    _check(arithmetic.name, sums)
    order = Order(sums.order)
    fused = sums.fused and order is not Order.PAIRWISE
    return (way(str(order), sums.block or BLOCK, fused),)


def _wider(a: Format, b: Format | None) -> Format | None:
    """The format that holds the operands of both sides; one rounding serves for both."""
    return a if b is None or a.precision >= b.precision else b


def _check(name: str, sums: Sums) -> None:
    is_plain = (
        sums.kind is SumKind.CHAIN
        and str(sums.order) in ORDERS
        and str(sums.within) == Order.SEQUENTIAL
        and not (sums.halved_tail or sums.flush_subnormals or sums.chunk)
    )
    if not is_plain:
        raise ArithmeticSpecError(
            f"The sums of {name!r} cannot be replayed addition by addition ({sums}): expected "
            "native sums, a sequential, pairwise or blocked chain, or sums that tensor cores align "
            "at once. Take format=... with orders=... to bracket them, or compare the model under "
            "this arithmetic as a whole."
        )
