"""Exact sums in one and in two binary64 numbers: their ends, and what happens behind them."""

import numpy as np
import pytest
import torch

from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, E4M3FN, Format, round_array
from deephochuli.kernels.products import ProductPlan, cpu_products, reference_products


def exact(block: int | None, inputs: Format = BINARY16, **how: object) -> ProductPlan:
    return ProductPlan(kind="exact", inputs=inputs, block=block, **how)


def agree(plan, a, b, start=None):
    """Whether compiled code and the reference, which uses Python's integers, give the same bits."""
    tensors = [None if x is None else torch.tensor(x).float() for x in (a, b, start)]
    ours, theirs = (f().multiply(plan, *tensors) for f in (cpu_products, reference_products))
    return torch.equal(ours.view(torch.int32), theirs.view(torch.int32))


def drawn(rng, shape, low, high, fmt=BINARY16):
    """Numbers of a format with exponents between two and all bits in use, a few of them zero."""
    steps = 1 << (fmt.precision - 1)
    size = np.ldexp(1 + rng.integers(0, steps, shape) / steps, rng.integers(low, high + 1, shape))
    return round_array(size * rng.choice([-1.0, 1.0, -1.0, 1.0, 0.0], shape), fmt)


def operands(rng, k, spread, fmt=BINARY16, low=-14):
    a = drawn(rng, (1, 3, k), low, low + spread // 2, fmt)
    return a, drawn(rng, (1, k, 34), low, low + spread - spread // 2, fmt)


@pytest.mark.parametrize("block", [2, 3, 4, 32])
@pytest.mark.parametrize("more", [0, 1, 14])
def test_spreads_of_exponents(block, more):
    """Up to 53 bits in one number, beyond in two: products at both ends in every block."""
    rng = np.random.default_rng(block)
    spread = min(53 - 2 - (block - 1).bit_length() - 20 + more, 29)
    a, b = operands(rng, 21, spread)
    a[:, :, ::2], b[:, ::2] = 2.0 ** (-14 + spread // 2) * 1.5, 2.0 ** (-14 + spread - spread // 2)
    assert agree(exact(block), a, b)
    assert agree(exact(block), a, b, drawn(rng, (1, 3, 34), -20, 20, BINARY32))


@pytest.mark.parametrize("block", [(4, BINARY16), (2, BFLOAT16), (32, E4M3FN)], ids=str)
@pytest.mark.parametrize("height", [22, 24, 28, 33])
def test_ties_of_sums_much_larger_than_products(block, height):
    """Running sums whose last place is that of the products, or above it: ties, and nearly ties."""
    rng = np.random.default_rng(height)
    a = rng.integers(-3, 4, (1, 6, 24)) * 0.5 ** rng.integers(0, 3, (1, 6, 24))
    b = rng.integers(-1, 2, (1, 24, 33)) * 0.5 ** rng.integers(0, 2, (1, 24, 33))
    a[:, ::4, 5] = 2.0**-9 * 1.125
    start = np.ldexp(rng.integers(1 << 23, 1 << 24, (1, 6, 33)), height - 24)
    assert agree(exact(*block), a, b, start * rng.choice([-1, 1], start.shape))


def test_a_tie_that_binary64_makes():
    """2^24 + 1 + 2^-30: above the tie, which is what is left of it in binary64."""
    a = np.array([[[1.0, 2.0**-15, 0.0, 0.0]]])
    b = np.array([[[1.0], [2.0**-15], [0.0], [0.0]]])
    start = np.array([[[2.0**24]]])
    got = cpu_products().multiply(exact(4), *(torch.tensor(x).float() for x in (a, b, start)))
    assert got.item() == 2.0**24 + 2
    start[:] = 2.0**24 * 2.0**7  # and one where the products themselves are lost
    a[0, 0, 0] = 2.0**7
    got = cpu_products().multiply(exact(4), *(torch.tensor(x).float() for x in (a, b, start)))
    assert got.item() == 2.0**31 + 2.0**8


@pytest.mark.parametrize("spread", [28, 29, 30, 31, 32])
def test_last_places_of_products_that_decide(spread):
    """2^30 + 2^6 is a tie; four products are 2^6 and the last place of the smallest."""
    low, u = 18 - spread, 2.0**-10
    a = np.array([[[1.5, (1 + u) * 2.0**-14, -(1 + 2 * u) * 2.0**-14, 1.75]]])
    b = np.array([24.0, (1 + u) * 2.0**low, 2.0**low, 16.0])[None, :, None]
    start = np.array([[[2.0**30]]])
    assert (a @ b).item() - 64.0 in (0.0, 2.0 ** (low - 34))
    got = cpu_products().multiply(exact(4), *(torch.tensor(x).float() for x in (a, b, start)))
    assert got.item() == 2.0**30 + 2.0**7


@pytest.mark.parametrize("plan", [exact(4), exact(None), exact(2, BFLOAT16), exact(3, chunk=7)])
@pytest.mark.parametrize("k", [1, 2, 5, 130])
def test_any_number_of_products(plan, k):
    if plan.chunk is not None:
        plan = ProductPlan(kind="exact", inputs=BINARY16, block=3, chunk=7, outer=BINARY32)
    rng = np.random.default_rng(k)
    a, b = operands(rng, k, 12, plan.inputs)
    assert agree(plan, a, b)
    assert agree(plan, a, b, drawn(rng, (1, 3, 34), -20, -2, BINARY32))


@pytest.mark.parametrize("block", [4, None])
def test_zeros_of_both_signs(block):
    a, b = np.full((1, 4, 6), -0.0), np.ones((1, 6, 32))
    b[:, :, ::3] = -1.0
    a[0, 0, 0], a[0, 1] = 1.0, [1.0, -1.0, 2.0, -2.0, 0.0, -0.0]
    assert agree(exact(block), a, b)
    assert agree(exact(block), a, b, np.full((1, 4, 32), -0.0))


@pytest.mark.parametrize("places", [(-76, -50), (-84, -76), (-120, -100), (55, 62), (60, 63)])
@pytest.mark.parametrize("block", [2, None])
def test_the_ends_of_binary32(places, block):
    """Subnormal results, and sums that overflow, also on the way."""
    rng = np.random.default_rng(sum(places) + 1000)
    a, b = (drawn(rng, shape, *places, BFLOAT16) for shape in ((1, 3, 20), (1, 20, 33)))
    assert agree(exact(block, BFLOAT16), a, b)
    lowest, highest = np.clip(np.multiply(places, 2), -126, 127)
    start = drawn(rng, (1, 3, 33), lowest, highest, BINARY32)
    assert agree(exact(block, BFLOAT16), a, b, start)


def test_small_initial_values_beside_large_products():
    rng = np.random.default_rng(4)
    a, b = operands(rng, 12, 6, low=0)
    for plan in (exact(4), exact(None)):
        assert agree(plan, a, b, drawn(rng, (1, 3, 34), -126, -100, BINARY32))
        assert agree(plan, a, b, np.full((1, 3, 34), 2.0**-149))


def test_what_is_not_finite_in_one_operand():
    rng = np.random.default_rng(5)
    a, b = operands(rng, 140, 10)
    a[0, 2, 130] = np.inf
    plan = exact(4)
    ours, theirs = (
        f().multiply(plan, *(torch.tensor(x).float() for x in (a, b)))
        for f in (cpu_products, reference_products)
    )
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.nan_to_num(1.0), theirs.nan_to_num(1.0))
    assert not ours[0, 2].isfinite().any()
