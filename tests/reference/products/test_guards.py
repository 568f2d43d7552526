"""Sums at the edges of what fast loops take for certain."""

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic
from deephochuli.arithmetic._plans import plan_of
from deephochuli.formats import BFLOAT16, BINARY16
from deephochuli.kernels.products import ProductPlan, cpu_products, reference_products
from deephochuli.kernels.products._cpu import _never_flushes, _sizes
from deephochuli.kernels.products._cpu_parameters import way_of
from tests.reference.products import oracle


def tensors(*arrays):
    return [None if x is None else torch.tensor(x, dtype=torch.float32)[None] for x in arrays]


def agree(plan, a, b, start=None):
    """Whether compiled code and the reference give the same bits."""
    operands = tensors(a, b, start)
    ours = cpu_products().multiply(plan, *operands)
    theirs = reference_products().multiply(plan, *operands)
    return torch.equal(ours.view(torch.int32), theirs.view(torch.int32))


def function_of(plan, a, b):
    a, b = tensors(a, b)
    return way_of(plan, _sizes(plan, a, b, None), has_start=False).function


@pytest.mark.parametrize("gap", [8, 14, 15, 16, 17, 20, 30])
def test_a_tie_that_a_much_smaller_total_decides(gap):
    """7 x 37 and 9 x 29 are ties of BF16: which way they go is for the 2^-gap that was there."""
    rng, n = np.random.default_rng(gap), 40
    a = np.stack([np.full(6, 1.0), np.resize([7.0, 9.0], 6), np.full(6, 1.0)], axis=1)
    first = rng.choice([-1.0, 1.0], n) * 2.0 ** (8 - gap) * rng.integers(128, 256, n) / 128
    b = np.stack([first, rng.choice([37.0, 29.0], n), np.zeros(n)])
    it = get_arithmetic("bf16-sequential")
    assert function_of(plan_of(it), a, b) == "quick_even"
    got = cpu_products().multiply(plan_of(it), *tensors(a, b))[0].double().numpy()
    assert np.array_equal(got, oracle.matrix(it, a, b, None))


@pytest.mark.parametrize("power", [-120, -40, 0, 6])
def test_bf16_chains_of_any_size(power):
    """Zeros, cancellation, and subnormal sums, under the scale that their size asks for."""
    rng = np.random.default_rng(power + 200)
    plan = plan_of(get_arithmetic("bf16-sequential"))
    a = rng.integers(-9, 10, (9, 300)) * 2.0 ** rng.integers(-3, 4, (9, 300))
    b = rng.integers(-128, 129, (300, 37)) * 2.0**power
    b[:, ::9] = 0.0
    assert function_of(plan, a, b) == "quick_even"
    assert agree(plan, a, b)
    assert agree(plan, a, b, np.full((9, 37), -0.0))


def test_huge_and_tiny_operands_whose_products_are_ordinary():
    rng = np.random.default_rng(3)
    plan = plan_of(get_arithmetic("bf16-sequential"))
    a = rng.integers(-128, 129, (5, 40)) * 2.0**-110
    b = rng.integers(-128, 129, (40, 33)) * 2.0**115
    assert agree(plan, a, b)
    assert agree(plan, b.T, a.T)


NAMES = ("avx512-bf16", "amx-bf16")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("power", "never"), [(-56, True), (-57, False), (-60, False)])
def test_the_smallest_products_that_need_no_flushing(name, power, never):
    """Sums cancel down to the last bit of a product: 2^-126 is normal, 2^-128 is not."""
    plan = plan_of(get_arithmetic(name))
    a, b = np.zeros((5, 6)), np.zeros((6, 37))
    a[:, 0], a[:, 2], b[0], b[2] = 130, -129, 130, 131  # 130 x 130 - 129 x 131 = 1
    a, b = a * 2.0 ** (power - 7), b * 2.0 ** (power - 7)
    assert _never_flushes(plan, *tensors(a, b, None)) is never
    got = cpu_products().multiply(plan, *tensors(a, b))
    assert got.unique().tolist() == [2.0**-126 if never else 0.0]
    assert agree(plan, a, b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("least", "never"), [(-103, True), (-104, False)])
def test_initial_values_that_need_no_flushing(name, least, never):
    rng, plan = np.random.default_rng(5), plan_of(get_arithmetic(name))
    start = (1 + 2.0**-23) * np.ldexp(rng.choice([-1.0, 1.0], (5, 9)), least)
    a, b = np.full((5, 2), -(2.0**-40)), np.full((2, 9), 2.0 ** (least + 40))
    b[1], b[:, ::3] = 0.0, 0.0
    start[:, ::3] = -0.0
    assert _never_flushes(plan, *tensors(a, b, start)) is never
    assert agree(plan, a, b, start)


def test_zeros_operands_and_infinities_need_no_flushing():
    a, b = np.array([[0.0, -0.0, np.inf, 1.0]]), np.array([[1.0], [-1.0], [2.0], [-0.0]])
    for name in NAMES:
        plan = plan_of(get_arithmetic(name))
        assert _never_flushes(plan, *tensors(a, b, None))
        assert agree(plan, a, b)
        assert agree(plan, a[:, :2], b[:2])


@pytest.mark.parametrize("fmt", [BINARY16, BFLOAT16])
@pytest.mark.parametrize("power", [-28, -8, 0])
def test_partial_sums_join_totals(fmt, power):
    """Ties, subnormal totals, zeros of both signs, cancellation; three full chunks and a rest."""
    rng = np.random.default_rng(power + 40)
    plan = ProductPlan(kind="chain", format=fmt, inputs=fmt, chunk=4, outer=fmt)
    a = rng.integers(-15, 16, (9, 14)) * 2.0 ** rng.integers(-6, 3, (9, 14))
    b = rng.integers(-15, 16, (14, 37)) * 2.0 ** max(power, fmt.emin - fmt.precision + 1)
    a[:, 4:8], b[4:8] = -a[:, :4], b[:4]
    operands = tensors(a, b)
    assert way_of(plan, _sizes(plan, *operands, None), has_start=False).joint is not None
    assert agree(plan, a, b)
    assert agree(plan, a, b, np.where(rng.random((9, 37)) < 0.5, -0.0, fmt.smallest_subnormal))


def test_totals_keep_the_sign_of_zero():
    """A product that is rounded to -0, and an initial value that is -0."""
    plan = ProductPlan(kind="chain", format=BINARY16, inputs=BINARY16, chunk=2, outer=BINARY16)
    a, b = np.full((4, 2), -(2.0**-20)), np.full((2, 32), 2.0**-20)
    assert agree(plan, a, b, np.full((4, 32), -0.0))
    assert cpu_products().multiply(plan, *tensors(a, b, np.full((4, 32), -0.0))).signbit().all()


@pytest.mark.parametrize("name", ["a100-bf16", "h100-bf16", "mi300-bf16"])
@pytest.mark.parametrize("large", [85, 97])
def test_zeros_beside_large_numbers_do_not_decide_an_alignment(name, large):
    """Products of about 2^-92 or 2^-100, and 0 x 2^large, in blocks of their own."""
    rng, plan, small = np.random.default_rng(6), plan_of(get_arithmetic(name)), 39 - large
    small = min(small, -46)
    a, b = (rng.integers(128, 256, shape) * 2.0 ** (small - 7) for shape in ((5, 64), (64, 35)))
    a, b = a * rng.choice([-1, 1], a.shape), b * rng.choice([-1, 1], b.shape)
    a[:, ::16], b[::16] = 2.0**large, 0.0
    assert agree(plan, a, b)
    assert agree(plan, b.T, a.T)
    a[:, 1::16] = 0.0
    assert agree(plan, a, b)


@pytest.mark.parametrize("name", ["v100", "a100", "h100"])
@pytest.mark.parametrize(("most", "power"), [(63, -13), (63, 0), (2047, -10), (2047, -8)])
def test_fp16_results_that_are_subnormal_or_ties(name, most, power):
    """Sums of few bits are often ties, some of them but for bits that binary32 does not hold."""
    rng, plan = np.random.default_rng(7), plan_of(get_arithmetic(f"{name}-fp16-accumulate-fp16"))
    a = rng.integers(-most, most + 1, (9, 96)) * 2.0 ** rng.integers(power - 6, power, (9, 96))
    b = rng.integers(-most, most + 1, (96, 32)) * 2.0 ** (power - 6)
    a, b = (torch.tensor(x).half().double().numpy() for x in (a, b))
    way = way_of(plan, _sizes(plan, *tensors(a, b), None), has_start=False)
    assert way.steady.startswith("steady_bounded")
    assert agree(plan, a, b)
    b[:, ::5] = 0.0
    assert agree(plan, a, b)


@pytest.mark.parametrize("name", ["v100", "a100", "h100"])
def test_a_subnormal_total_is_aligned_as_the_smallest_normal_number(name):
    """2^-25 is half of the last place; 2^-42 beside it is cut, but for totals that are zero."""
    plan = plan_of(get_arithmetic(f"{name}-fp16-accumulate-fp16"))
    a, b = np.zeros((8, 32)), np.zeros((32, 32))
    a[:, ::16], b[::16] = 2.0**-12, 2.0**-13
    a[:, 1::16], b[1::16] = 2.0**-20, 2.0**-22
    start = np.arange(-128, 128).reshape(8, 32) % 7 * 2.0**-24
    assert agree(plan, a, b, start)
    start[start == 0] = 2.0**-24
    assert agree(plan, a, b, start)
