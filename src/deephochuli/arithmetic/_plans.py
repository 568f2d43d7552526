"""From an arithmetic to the plan that kernels work by."""

from __future__ import annotations

import functools

from deephochuli.arithmetic._arithmetic import Arithmetic
from deephochuli.arithmetic._sums import Order, SumKind, Sums
from deephochuli.formats import Format, Rounding
from deephochuli.kernels.products import ProductPlan


def plan_of(arithmetic: Arithmetic) -> ProductPlan:
    """How kernels form the sums of an arithmetic that is not native."""
    return _plan(arithmetic.sums, arithmetic.inputs)


def plan_of_addends(arithmetic: Arithmetic) -> ProductPlan:
    """The same for plain sums, whose addends are values of the partial sums' format.

    Aligned sums multiply; a sum over a tensor is none of theirs, and is formed by ordinary units:
    as a chain in binary32.
    """
    sums = arithmetic.sums
    if sums.kind is SumKind.ALIGNED or sums.flush_subnormals:
        return ProductPlan(kind="chain")
    return _plan(sums, sums.format)


@functools.lru_cache(maxsize=256)
def _plan(sums: Sums, inputs: Format | None) -> ProductPlan:
    blocked = sums.order is Order.BLOCKED
    order = Order(sums.within if blocked else sums.order)
    named = {Order.PAIRWISE: "pairwise", Order.INTERLEAVED: "interleaved"}
    # The kernels name kinds and orders by literals, which a type checker cannot see in an enum.
    return ProductPlan(
        kind=SumKind(sums.kind).value,  # pyright: ignore[reportArgumentType]
        format=sums.format,
        rounding=Rounding(sums.rounding),
        inputs=inputs,
        order=named.get(order, "sequential"),  # pyright: ignore[reportArgumentType]
        fused=sums.fused,
        flush=sums.flush_subnormals,
        block=None if blocked else sums.block,
        fraction_bits=sums.fraction_bits or 0,
        floors=sums.alignment is Rounding.DOWN,
        zero_exponent=sums.zero_exponent,
        late_bits=sums.late_bits,
        split=sums.split,
        chunk=sums.block if blocked else sums.chunk,
        halves_tail=sums.halved_tail,
        outer=sums.format if blocked else sums.outer,
        swaps=order is Order.SWAPPED,
        pairs=order is Order.PAIRED,
    )
