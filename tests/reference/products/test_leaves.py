"""Joined trees of a few products: tails, signs of zeros, and where subnormal numbers begin."""

import numpy as np
import pytest
import torch

from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, round_array
from deephochuli.kernels.products import ProductPlan, cpu_products, reference_products
from deephochuli.kernels.products._cpu_parameters import UNKNOWN, Sizes, way_of


def trees(chunk, inputs=BFLOAT16, *, flush=True):
    return ProductPlan(
        kind="chain",
        format=BINARY32,
        inputs=inputs,
        order="pairwise",
        fused=False,
        chunk=chunk,
        outer=BINARY32,
        flush=flush,
    )


def of_floats(x):
    return torch.tensor(x).float()


def agree(plan, a, b, start=None):
    """Whether compiled code and the reference give the same bits."""
    tensors = [None if x is None else of_floats(x) for x in (a, b, start)]
    ours, theirs = (f().multiply(plan, *tensors) for f in (cpu_products, reference_products))
    return torch.equal(ours.view(torch.int32), theirs.view(torch.int32))


def drawn(rng, shape, low, high):
    """BF16 numbers with exponents between two, a few of them zero."""
    size = np.ldexp(1 + rng.integers(0, 128, shape) / 128, rng.integers(low, high + 1, shape))
    return size * rng.choice([-1.0, -1.0, 1.0, 1.0, 0.0, -0.0], shape)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("chunk", [2, 4, 8])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 7, 9, 131])
def test_any_number_of_products(chunk, k, flush):
    rng = np.random.default_rng(k)
    a, b = (round_array(rng.standard_normal(s), BINARY16) for s in ((2, 5, k), (2, k, 35)))
    plan, start = trees(chunk, BINARY16, flush=flush), rng.standard_normal((2, 5, 35))
    assert way_of(plan, UNKNOWN, has_start=False).function == f"leaves{chunk}"
    assert agree(plan, a, b)
    assert agree(plan, a, b, start)


@pytest.mark.parametrize("k", [1, 3, 4, 6])
def test_sums_of_negative_zeros(k):
    a, b = np.full((1, 4, k), -0.0), np.ones((1, k, 32))
    assert agree(trees(4), a, b, np.full((1, 4, 32), -0.0))
    assert agree(trees(4), a, b)


@pytest.mark.parametrize("least", [-46, -45, -44, -43])
def test_where_subnormal_numbers_begin(least):
    """Products from 2^2least on, and initial values that cancel them but for their last bits."""
    rng, plan = np.random.default_rng(-least), trees(4)
    a, b = drawn(rng, (1, 16, 12), least, least + 3), drawn(rng, (1, 12, 64), least, least + 3)
    start = -np.float32(a @ b) * (1 + rng.integers(-2, 3, (1, 16, 64)) * 2.0**-23)
    # (1 + u)^2 - (1 + 2u) = u^2, of which all but the last place is taken away.
    u, a[0, 0], b[0, :, 0] = 2.0**-7, 0.0, 0.0
    a[0, 0, :2] = np.array([1 + u, -1 - 2 * u]) * 2.0**least
    b[0, :2, 0] = np.array([1 + u, 1]) * 2.0**least
    start[0, 0, 0] = -(4.0**least) * u**2 * (1 + 2.0**-23)
    expected = 4.0**least * u**2 * 2.0**-23 if least >= -44 else 0.0
    assert cpu_products().multiply(plan, *map(of_floats, (a, b, start)))[0, 0, 0] == -expected
    assert agree(plan, a, b, start)
    assert agree(plan, a, b)


def test_which_sums_need_to_be_flushed():
    def function(plan, **sizes):
        return way_of(plan, Sizes(**sizes), has_start=True).function

    assert function(trees(4), least=-88) == "leaves4"
    assert function(trees(4), least=-89) == "flushing_leaves4"
    assert function(trees(4)) == "flushing_leaves4"
    assert function(trees(4, BINARY32), least=0) == "flushing_leaves4"
