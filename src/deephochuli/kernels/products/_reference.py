"""Sums of products in plain torch: slow, readable, and the definition of every result.

Chains are formed in binary64: the product of two binary32 numbers is exact there, the sum is
rounded to odd, and the second rounding, to the format of the chain, gives what one rounding of the
exact sum would have given. Aligned sums are formed in int64. What does not fit into either (chains
in binary64, exact sums) is formed in Python's integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from deephochuli.formats import BINARY32, BINARY64, Format, Rounding
from deephochuli.kernels.products._aligned import aligned_sum
from deephochuli.kernels.products._integers import exact_sum
from deephochuli.kernels.products._plan import ProductPlan
from deephochuli.kernels.products._torch_rounding import (
    narrowed,
    rounded,
    sum_to_odd,
    widened,
)

Add = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class ReferenceProducts:
    """Sums of products in torch operations, on any device."""

    name = "torch"

    def multiply(
        self,
        plan: ProductPlan,
        a: torch.Tensor,
        b: torch.Tensor,
        initial: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Form all sums of a batch of matrix products; see `ProductBackend`."""
        a, b = _operand(plan, a), _operand(plan, b)
        start = None if initial is None else _operand(plan, initial, is_start=True)
        return narrowed(_multiply(plan, a, b, start), plan.dtype)


def _operand(plan: ProductPlan, x: torch.Tensor, *, is_start: bool = False) -> torch.Tensor:
    """An operand, or an initial value, in binary64; +0 for what counts as zero."""
    wide = widened(x)
    if not plan.flush:
        return wide
    fmt = BINARY32 if is_start or plan.inputs is None else plan.inputs
    return torch.where(wide.abs() < 2.0**fmt.emin, torch.zeros_like(wide), wide)


def flushed_operand(plan: ProductPlan, x: torch.Tensor, *, is_start: bool = False) -> torch.Tensor:
    """The same in the plan's dtype."""
    fmt = BINARY32 if is_start or plan.inputs is None else plan.inputs
    if x.dtype != torch.float32 or fmt.emin < BINARY32.emin:
        return narrowed(_operand(plan, x, is_start=is_start), plan.dtype)
    bits = x.contiguous().view(torch.int32)
    small = (bits & 0x7FFFFFFF) < (fmt.emin + 127) << 23
    return bits.masked_fill(small, 0).view(torch.float32)


def _multiply(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor | None
) -> torch.Tensor:
    zero = torch.zeros(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype, device=a.device)
    starts = plan.chunk_starts(a.shape[2])
    if plan.outer is None:
        return _partial(plan, a, b, zero if start is None else start, start is not None)
    total = zero if start is None else start
    add = adder(plan.outer, Rounding.NEAREST_EVEN, flush=plan.flush)
    for first, stop in itertools.pairwise(starts):
        part = _partial(plan, a[:, :, first:stop], b[:, first:stop], zero, False)
        total = add(total, part)
    return total


def adder(fmt: Format, mode: Rounding, *, flush: bool = False) -> Add:
    """Addition of two binary64 numbers, rounded once to a format."""

    def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        total = x + y if fmt == BINARY64 else rounded(sum_to_odd(x, y), fmt, mode)
        return flushed(total) if flush else total

    return add


def flushed(x: torch.Tensor) -> torch.Tensor:
    """Zeros, with the sign, for what is subnormal in binary32."""
    return torch.where(x.abs() < 2.0**BINARY32.emin, torch.copysign(torch.zeros_like(x), x), x)


def _partial(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor, has_start: bool
) -> torch.Tensor:
    if plan.kind == "exact":
        return exact_sum(plan, a, b, start)
    if plan.kind == "aligned":
        return aligned_sum(plan, a, b, start)
    if plan.format == BINARY64 and plan.fused and plan.order != "pairwise":
        return _wide_chain(plan, a, b, start, has_start)
    if plan.order == "sequential":
        return _chain(plan, a, b, start)
    if plan.order == "interleaved":
        zero, add = torch.zeros_like(start), adder(plan.format, plan.rounding, flush=plan.flush)
        even, odd = (_chain(plan, a[:, :, i::2], b[:, i::2], zero) for i in (0, 1))
        total = add(even, odd)
    else:
        total, add = _tree(plan, a, b), adder(plan.format, plan.rounding, flush=plan.flush)
    return add(start, total) if has_start else total


def _wide_chain(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, start: torch.Tensor, has_start: bool
) -> torch.Tensor:
    """FMA chains in binary64, which torch has no operation for."""
    if plan.order == "sequential":
        return exact_sum(plan, a, b, start, block=1)
    zero = torch.zeros_like(start)
    even, odd = (exact_sum(plan, a[:, :, i::2], b[:, i::2], zero, block=1) for i in (0, 1))
    return start + (even + odd) if has_start else even + odd


def _product(plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, k: int) -> torch.Tensor:
    """Products of one k, rounded where the plan says so."""
    product = a[:, :, k, None] * b[:, None, k, :]
    if not plan.fused or plan.order == "pairwise":
        product = rounded(product, plan.format, plan.rounding)
    return flushed(product) if plan.flush and not plan.fused else product


def _chain(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, total: torch.Tensor
) -> torch.Tensor:
    add = adder(plan.format, plan.rounding, flush=plan.flush)
    for k in range(a.shape[2]):
        total = add(total, _product(plan, a, b, k))
    return total


def _tree(plan: ProductPlan, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A binary counter of partial sums: as many as K has bits are alive."""
    add = adder(plan.format, plan.rounding, flush=plan.flush)
    if a.shape[2] == 0:
        return a.new_zeros(a.shape[0], a.shape[1], b.shape[2])
    waiting: list[torch.Tensor] = []
    for k in range(a.shape[2]):
        total = _product(plan, a, b, k)
        filled = k
        while filled & 1:
            total = add(waiting.pop(), total)
            filled >>= 1
        waiting.append(total)
    total = waiting.pop()
    while waiting:
        total = add(waiting.pop(), total)
    return total
