"""Chains of rounded products in narrow formats: where they are quick, and where they end."""

import numpy as np
import pytest
import torch

from deephochuli.formats import BFLOAT16, BINARY16, E4M3FN, round_array
from deephochuli.kernels.products import ProductPlan, cpu_products, reference_products
from deephochuli.kernels.products._cpu_parameters import Sizes, way_of


def chain(fmt):
    return ProductPlan(kind="chain", format=fmt, inputs=fmt, fused=False)


def agree(fmt, a, b, start=None):
    """Whether compiled code and the reference give the same bits."""
    tensors = [
        None if x is None else torch.tensor(round_array(x, fmt)).float() for x in (a, b, start)
    ]
    plan = chain(fmt)
    ours, theirs = (f().multiply(plan, *tensors) for f in (cpu_products, reference_products))
    same = ours.view(torch.int32) == theirs.view(torch.int32)
    return bool((same | (ours.isnan() & theirs.isnan())).all())


@pytest.mark.parametrize("fmt", [BINARY16, BFLOAT16, E4M3FN], ids=["fp16", "bf16", "e4m3fn"])
@pytest.mark.parametrize("size", [1.0, 2.0**-4, 2.0**-8, 24.0])
def test_sums_of_many_products(fmt, size):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((1, 6, 260)) * size, rng.standard_normal((1, 260, 37)) * size
    a[:, ::2] = np.round(a[:, ::2] * 8 / size) / 8 * size  # and ties
    assert agree(fmt, a, b)
    assert agree(fmt, a, b, rng.standard_normal((1, 6, 37)) * size * 16)


@pytest.mark.parametrize("fmt", [BINARY16, BFLOAT16], ids=["fp16", "bf16"])
def test_sums_that_overflow_and_come_back(fmt):
    a = np.full((1, 5, 12), float(fmt.max_finite) / 4)
    b = np.ones((1, 12, 34))
    b[:, 6:] = -1.0
    b[:, :, ::2] *= 0.5
    assert agree(fmt, a, b)
    assert agree(fmt, a, b, np.full((1, 5, 34), -float(fmt.max_finite)))


def test_sums_at_the_end_of_the_format():
    a, b = np.ones((1, 4, 2)), np.ones((1, 2, 40))
    b[0, 1] = np.arange(40) - 8.0
    assert agree(BINARY16, a, b, np.full((1, 4, 40), 65504.0))
    assert agree(BINARY16, a, b, np.full((1, 4, 40), 32752.0))


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite(value):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((1, 5, 9)), rng.standard_normal((1, 9, 34))
    start = rng.standard_normal((1, 5, 34))
    start[0, 2, 3] = value
    assert agree(BINARY16, a, b, start)
    a[0, 1, 4] = value
    assert agree(BINARY16, a, b)


def test_zeros_of_both_signs():
    a, b = np.full((1, 4, 6), -0.0), np.ones((1, 6, 33))
    a[0, 0, 3], a[0, 1, 2] = 0.0, 2.0**-24
    b[0, 2] = -(2.0**-10)  # a product that is rounded to -0
    assert agree(BINARY16, a, b, np.full((1, 4, 33), -0.0))
    assert agree(BINARY16, a, b)


@pytest.mark.parametrize("low", [-66, -70, -100])
def test_products_that_are_small_in_bf16(low):
    """Subnormal products and sums; where products are none of binary32, care is taken."""
    rng = np.random.default_rng(-low)
    a, b = (
        rng.standard_normal(s) * 2.0 ** rng.integers(low, low + 3, s)
        for s in ((1, 5, 9), (1, 9, 33))
    )
    assert agree(BFLOAT16, a, b)
    assert agree(BFLOAT16, a, b, rng.integers(-3, 4, (1, 5, 33)) * 2.0**-133)


def test_which_chains_are_quick():
    def function(fmt, **sizes):
        return way_of(chain(fmt), Sizes(**sizes), has_start=False).function

    assert function(BINARY16, product=65503.0) == "quick_separate"
    assert function(BINARY16, product=65504.0) == "careful_separate"
    assert function(BINARY16) == "careful_separate"
    assert function(BFLOAT16, product=1.0, least=-135) == "quick_separate"
    assert function(BFLOAT16, product=1.0, least=-136) == "careful_separate"
