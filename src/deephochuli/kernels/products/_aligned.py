"""Sums as tensor cores form them, in int64 operations of torch: the definition of the results.

The exponent of a product is the sum of its operands' exponents: the product of two significands,
which lies in [1, 4), is not normalised, and subnormal operands keep the smallest exponent of their
format. All terms of a block are cut at the same place, `fraction_bits` below the largest exponent,
and added exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from deephochuli.formats import BINARY32, Overflow
from deephochuli.kernels._reference import stored_bits
from deephochuli.kernels.products._plan import ProductPlan
from deephochuli.kernels.products._torch_rounding import power_of_two, rounded

# Exponent of a zero, below that of any product, where a plan gives none.
_NONE = -999


class _Terms(NamedTuple):
    """Significands as whole numbers of 2^-23, their exponents, and what is not finite."""

    significand: torch.Tensor
    exponent: torch.Tensor
    special: torch.Tensor


def _terms(x: torch.Tensor, emin: int, zero: int) -> _Terms:
    exponent = ((stored_bits(x) >> 52) & 0x7FF) - 1023
    finite = x.isfinite()
    exponent = torch.where(x == 0, zero, exponent.clamp_min(emin))
    exponent = torch.where(finite, exponent, _NONE)
    safe = torch.where(finite & (x != 0), x, torch.zeros_like(x))
    significand = safe * power_of_two(23 - exponent.clamp_min(-200))
    special = torch.where(finite, torch.sign(x), x)
    return _Terms(significand.to(torch.int64), exponent, special)


def aligned_sum(
    plan: ProductPlan, a: torch.Tensor, b: torch.Tensor, total: torch.Tensor
) -> torch.Tensor:
    """Join blocks of products to the sum so far."""
    emin = (BINARY32 if plan.inputs is None else plan.inputs).emin
    zero = _NONE if plan.zero_exponent is None else plan.zero_exponent
    # Half of a zero's exponent each: a product with a zero then lies below every other product.
    left, right = _terms(a, emin, _NONE), _terms(b, emin, _NONE)
    block = plan.block or 1
    for first in range(0, a.shape[2], block):
        part = range(first, min(first + block, a.shape[2]))
        c = _terms(total, plan.format.emin, zero)
        join = _late if plan.late_bits is not None else _early
        value = join(plan, left, right, c, part)
        value = rounded(value, plan.format, plan.rounding, Overflow.INFINITY) + 0.0
        total = _with_specials(plan, value, left, right, c, part)
    return total


def _exponent(left: _Terms, right: _Terms, k: int) -> torch.Tensor:
    """Exponents of the products of one k."""
    both = left.exponent[:, :, k, None] + right.exponent[:, None, k, :]
    return both.clamp_min(_NONE)


def _largest(left: _Terms, right: _Terms, part: range) -> torch.Tensor:
    exponents = [_exponent(left, right, k) for k in part]
    return torch.stack(exponents).amax(0)


def _cut(value: torch.Tensor, shift: torch.Tensor, *, floors: bool) -> torch.Tensor:
    """Shift to the right, or to the left by a negative shift, away from nothing but what is cut."""
    right = shift.clamp(0, 62)
    down = value >> right if floors else torch.sign(value) * (value.abs() >> right)
    return down << (-shift).clamp(0, 40)


def _added(
    plan: ProductPlan, left: _Terms, right: _Terms, part: range, exponent: torch.Tensor
) -> torch.Tensor:
    """Products cut at F bits below an exponent, added exactly."""
    total = torch.zeros_like(exponent)
    for k in part:
        product = left.significand[:, :, k, None] * right.significand[:, None, k, :]
        shift = exponent - plan.fraction_bits - (_exponent(left, right, k) - 46)
        total = total + _cut(product, shift, floors=plan.floors)
    return total


def _early(plan: ProductPlan, left: _Terms, right: _Terms, c: _Terms, part: range) -> torch.Tensor:
    """Products and the sum so far, aligned together."""
    largest = torch.maximum(_largest(left, right, part), c.exponent)
    if plan.zero_exponent is not None:
        largest = largest.clamp_min(plan.zero_exponent)
    total = _added(plan, left, right, part, largest)
    shift = largest - plan.fraction_bits - (c.exponent - 23)
    total = total + _cut(c.significand, shift, floors=plan.floors)
    return total.to(torch.float64) * power_of_two((largest - plan.fraction_bits).clamp_min(-900))


def _late(plan: ProductPlan, left: _Terms, right: _Terms, c: _Terms, part: range) -> torch.Tensor:
    """Products first; their sum and the sum so far are then joined with rounding down."""
    bits, late = plan.fraction_bits, (plan.late_bits or 0) + 1
    groups = [part[0::2], part[1::2]] if plan.split and len(part) > 1 else [part]
    exponents = [_largest(left, right, group) for group in groups]
    of_products = torch.stack(exponents).amax(0)
    products = torch.zeros_like(of_products)
    for group, exponent in zip(groups, exponents, strict=True):
        own = _added(plan, left, right, group, exponent)
        products = products + _cut(own, of_products - exponent, floors=True)
    of_c = c.exponent.clamp_min(plan.format.emin)
    largest = torch.maximum(of_products, of_c)
    products = _cut(products, largest - of_products + bits - late, floors=True)
    total = _cut(c.significand, largest - of_c + 23 - bits, floors=True)
    if plan.split:
        total = torch.where(of_c < largest - bits - 1, 0, total)
    total = products + (total << (late - bits))
    value = total.to(torch.float64) * power_of_two(largest - late)
    unit = ((stored_bits(value) >> 52) & 0x7FF) - 1023
    unit = unit.clamp_min(plan.format.emin) - (late - 1)
    return torch.floor(value * power_of_two(-unit)) * power_of_two(unit)


def _with_specials(
    plan: ProductPlan, value: torch.Tensor, left: _Terms, right: _Terms, c: _Terms, part: range
) -> torch.Tensor:
    """Infinities and NaN of operands are added as IEEE 754 has it."""
    special = c.special
    for k in part:
        product = left.special[:, :, k, None] * right.special[:, None, k, :]
        if plan.late_bits is not None and not plan.split:
            size = left.significand[:, :, k, None] * right.significand[:, None, k, :]
            beyond = (size.abs() >= 1 << 47).to(torch.int64) + _exponent(left, right, k) >= 128
            product = torch.where(beyond, product * torch.inf, product)
        special = special + product
    return torch.where(special.isfinite(), value, special)
