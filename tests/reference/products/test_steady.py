"""Blocks whose exponents are known to be in range: at the edges of that range, and beyond."""

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic
from deephochuli.arithmetic._plans import plan_of
from deephochuli.formats import round_array
from deephochuli.kernels.products import _cpu_parameters as parameters
from deephochuli.kernels.products import cpu_products, reference_products
from deephochuli.kernels.products._cpu import late_factors

NAMES = (
    *("v100-fp16", "a100-bf16", "a100-tf32", "h100-fp16", "h100-bf16", "h100-fp8"),
    *("b200-fp8", "h100-fp8-promoted", "v100-fp16-accumulate-fp16", "b200-fp16-accumulate-fp16"),
    *("mi300-fp16", "mi300-fp8"),
)


def agree(name, a, b, start=None):
    """Whether compiled code and the reference give the same bits."""
    it = get_arithmetic(name)
    plan = plan_of(it)
    assert parameters.way_of(plan, parameters.UNKNOWN, has_start=start is not None).steady
    tensors = [
        None if x is None else torch.tensor(round_array(x, fmt)).to(plan.dtype)
        for x, fmt in ((a, it.inputs), (b, it.inputs), (start, plan.outer or plan.format))
    ]
    ours = cpu_products().multiply(plan, *tensors)
    theirs = reference_products().multiply(plan, *tensors)
    same = ours.view(torch.int32) == theirs.view(torch.int32)
    return bool((same | (ours.isnan() & theirs.isnan())).all())


def spread(rng, shape, low, high):
    """Numbers with exponents between two, a few of them zero."""
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(low, high, shape)
    return np.where(rng.random(shape) < 0.1, 0.0, x)


@pytest.mark.parametrize("name", ["a100-bf16", "a100-tf32", "h100-bf16", "mi300-bf16"])
@pytest.mark.parametrize("places", [(-52, -46), (-51, -40), (40, 46), (44, 50), (-120, -90)])
def test_the_ends_of_the_range(name, places):
    rng = np.random.default_rng(sum(places) + 1000)
    a, b = spread(rng, (1, 6, 64), *places), spread(rng, (1, 64, 37), *places)
    assert agree(name, a, b)


@pytest.mark.parametrize("name", ["mi300-bf16", "mi300-xf32"])
@pytest.mark.parametrize(
    ("of_a", "of_b", "is_scaled"),
    [
        *(((30, 36), (30, 36), True), ((95, 99), (-95, -90), True), ((96, 100), (6, 12), True)),
        *(((0, 50), (0, 50), True), ((-90, -80), (98, 104), True), ((98, 110), (-108, -90), True)),
        *(((0, 75), (0, 75), False), ((-40, 90), (20, 30), False), ((60, 63), (55, 59), False)),
        *(((100, 126), (-120, -90), False), ((-20, 0), (-8, 8), False)),
    ],
)
def test_large_operands_are_brought_down_where_no_sum_can_notice(name, of_a, of_b, is_scaled):
    rng, plan = np.random.default_rng(8), plan_of(get_arithmetic(name))
    a, b = spread(rng, (1, 6, 64), *of_a), spread(rng, (1, 64, 37), *of_b)
    tensors = [torch.tensor(round_array(x, plan.inputs)).float() for x in (a, b)]
    assert (late_factors(plan, *tensors) is not None) == is_scaled
    assert agree(name, a, b)


def test_subnormal_operands_are_not_brought_down():
    plan = plan_of(get_arithmetic("mi300-bf16"))
    a, b = torch.full((1, 4, 8), 2.0**100), torch.full((1, 8, 4), 2.0**-100)
    assert late_factors(plan, a, b) is not None
    b[0, 0, 0] = 2.0**-130
    assert late_factors(plan, a, b) is None
    b[0, 0, 0] = torch.inf
    assert late_factors(plan, a, b) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("low", [-60, -8, 0])
def test_initial_values_of_any_size(name, low):
    rng = np.random.default_rng(low + 100)
    start = spread(rng, (1, 6, 37), low * 2 - 8, 8 - low)
    assert agree(name, spread(rng, (1, 6, 64), -4, 4), spread(rng, (1, 64, 37), -4, 4), start)


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_sums_that_a_block_can_have(name):
    """All products just below 4: with 25 bits behind the point more than 31 bits in all."""
    most = float(round_array(np.array(2 - 2.0**-11), get_arithmetic(name).inputs, "toward-zero"))
    a, b = np.full((1, 5, 96), most), np.full((1, 96, 33), most)
    b[:, ::3, ::2] = 2.0**-4
    assert agree(name, a, b)
    assert agree(name, -a, b)


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_of_zeros(name):
    rng = np.random.default_rng(1)
    a, b = spread(rng, (1, 9, 64), -4, 4), spread(rng, (1, 64, 40), -4, 4)
    a[:, 2], b[:, :, 5], a[:, :, 32:64] = 0.0, 0.0, -0.0
    assert agree(name, a, b)
    assert agree(name, a, b, np.full((1, 9, 40), -0.0))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_stays_in_its_rows_and_columns(name):
    rng = np.random.default_rng(2)
    a, b = spread(rng, (2, 9, 64), -4, 4), spread(rng, (2, 64, 40), -4, 4)
    a[0, 3, 40], b[1, 9, 35] = np.nan, np.nan
    assert agree(name, a, b)


def test_what_is_not_finite_beside_small_numbers():
    rng = np.random.default_rng(3)
    a, b = spread(rng, (1, 9, 64), -4, 4), spread(rng, (1, 64, 40), -60, -50)
    a[0, 3, 40], a[0, 4, 3] = np.inf, np.nan
    assert agree("a100-bf16", a, b)


def test_the_rounding_direction_is_given_back():
    a = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    plan = plan_of(get_arithmetic("a100-tf32"))
    cpu_products().multiply(plan, a[None].half().float(), a.T.contiguous()[None].half().float())
    third = torch.tensor([2.0]) / torch.tensor([3.0])
    assert third.view(torch.int32).item() == np.array([2 / 3], np.float32).view(np.int32)[0]
    assert (torch.tensor(1.0) + 2.0**-24 * 1.5).item() == 1 + 2.0**-23
