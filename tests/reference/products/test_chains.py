"""Chains against plain loops, the bound of Higham, and what must not change a result."""

import os

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import (
    Arithmetic,
    Sums,
    get_arithmetic,
    linear,
    list_arithmetics,
    matmul,
    sum_as,
)
from deephochuli.arithmetic._plans import plan_of
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, E4M3FN, Rounding
from deephochuli.kernels.products import ProductPlan, cpu_products, reference_products
from tests.reference.products import draws

DOTS = int(os.environ.get("DEEPHOCHULI_DOTS", "100000"))


def operands(m, k, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)


def test_sequential_without_fma_is_the_numpy_loop():
    a, b = operands(9, 130, 37)
    total = np.zeros((9, 37), np.float32)
    for k in range(130):
        total = total + a.numpy()[:, k, None] * b.numpy()[k]
    got = matmul(a, b, get_arithmetic("fp32-sequential-no-fma"))
    assert np.array_equal(got.numpy(), total)


def test_sequential_with_fma_is_the_loop_of_addcmul_in_binary64():
    a, b = operands(9, 130, 37)
    total = torch.zeros(9, 37)
    for k in range(130):  # exact product; 53 bits hold the sum well enough for random numbers
        total = (total.double() + a[:, k, None].double() * b[k].double()).float()
    assert torch.equal(matmul(a, b, get_arithmetic("fp32-sequential")), total)


def test_blocked_is_the_loop_over_blocks():
    a, b = operands(5, 100, 33)
    total = torch.zeros(5, 33)
    for first in range(0, 100, 32):
        part = torch.zeros(5, 33)
        for k in range(first, min(first + 32, 100)):
            part = (part.double() + a[:, k, None].double() * b[k].double()).float()
        total = total + part
    assert torch.equal(matmul(a, b, get_arithmetic("fp32-blocked")), total)


@pytest.mark.parametrize("k", [1, 2, 7, 8, 9, 15, 16, 64, 100, 255, 257])
def test_pairwise_is_the_recursive_halving_of_a_power_of_two(k):
    a, b = operands(5, k, 35, seed=k)
    level = [a.numpy()[:, i, None] * b.numpy()[i] for i in range(k)]
    while len(level) > 1:
        odd = level[len(level) - len(level) % 2 :]
        level = [x + y for x, y in zip(level[::2], level[1::2], strict=False)] + odd
    assert np.array_equal(matmul(a, b, get_arithmetic("fp32-pairwise")).numpy(), level[0])


def test_half_precision_is_the_numpy_loop():
    a, b = (x.half() for x in operands(6, 50, 35))
    total = np.zeros((6, 35), np.float16)
    for k in range(50):
        total = total + a.numpy()[:, k, None] * b.numpy()[k]
    got = matmul(a.float(), b.float(), get_arithmetic("fp16-sequential-no-fma"))
    assert np.array_equal(got.numpy(), total.astype(np.float32))


def test_the_split_of_a_tail_in_the_middle():
    plan = plan_of(get_arithmetic("torch-cpu-fp32"))
    assert plan.chunk_starts(385) == [0, 193, 385]
    assert plan.chunk_starts(384) == [0, 384]
    assert plan.chunk_starts(768) == [0, 384, 768]
    assert plan.chunk_starts(1024) == [0, 384, 704, 1024]


def test_sums_are_products_with_ones():
    x, _ = operands(40, 70, 1)
    it = get_arithmetic("fp16-sequential")
    half = x.half().float()
    expected = matmul(torch.ones(1, 40), half, it)[0]
    assert torch.equal(sum_as(half, it, dim=0), expected)
    assert torch.equal(sum_as(half, it), sum_as(half.reshape(-1), it, dim=0))


BOUNDED = [
    it.name
    for it in list_arithmetics()
    if it.sums.is_emulated and it.sums.kind == "chain" and it.sums.format.precision <= 24
]


def test_every_chain_in_binary32_is_bounded():
    of_binary32 = {name for name in BOUNDED if get_arithmetic(name).sums.format == BINARY32}
    assert {"fp32-pairwise", "mi250-bf16", "amx-bf16", "torch-cpu-fp32"} <= of_binary32


@pytest.mark.parametrize("name", BOUNDED)
def test_the_bound_gamma_is_never_violated(name):
    """|fl(x'y) - x'y| <= gamma_K |x|'|y|, Higham 2002, 3.1, where nothing underflows."""
    it = get_arithmetic(name)
    side, k = 100, 20
    u = it.sums.format.unit_roundoff
    gamma = (k + 1) * u / (1 - (k + 1) * u)
    for seed in range(-(-DOTS // side**2)):
        rng = np.random.default_rng(seed)
        a, b = (draws.operand(rng, "normal", shape, it.inputs) for shape in ((side, k), (k, side)))
        got = matmul(torch.tensor(a), torch.tensor(b), it).numpy()
        error, bound = np.abs(got - a @ b), gamma * (np.abs(a) @ np.abs(b))
        assert (error <= bound + k * it.sums.format.smallest_subnormal).all()


@pytest.mark.parametrize("lanes", [1, 37])
def test_exact_sums_that_two_numbers_do_not_hold(lanes):
    """Three sizes at once, of which the two large ones cancel: the small one is what is left."""
    small = np.float32(1 + 2.0**-23) * np.float32(2.0**-40)
    a = np.array([2.0**60, 2.0**10, small, -(2.0**60), -(2.0**10)], np.float32)
    b = np.array([2.0**60, 2.0**10, 2.0**-40, 2.0**60, 2.0**10], np.float32)
    columns = np.repeat(b[:, None], lanes, axis=1)
    columns[:, ::2] *= 2  # and in every other column the same, twice
    plan = plan_of(get_arithmetic("fp32-exact"))
    got = cpu_products().multiply(plan, torch.tensor(a)[None, None], torch.tensor(columns)[None])
    expected = np.float32(small * np.float32(2.0**-40)) * np.where(np.arange(lanes) % 2, 1, 2)
    assert np.array_equal(got[0, 0].numpy(), expected)


CASES = ("normal", "special", "tiny", "large")


def hard(rng, kind, shape, fmt):
    x = draws.operand(rng, {"special": "wild", "tiny": "subnormal"}.get(kind, kind), shape, fmt)
    if kind == "special":
        draw = rng.random(shape)
        x = np.where(draw < 0.02, np.inf, np.where(draw < 0.04, np.nan, x))
        x = np.where(draw > 0.8, -0.0, x)
    return torch.tensor(x)


def equal_bits(x, y):
    same = (x == y) & (torch.signbit(x) == torch.signbit(y))
    return bool((same | (x.isnan() & y.isnan())).all())


BACKENDS = (
    *("fp16-sequential", "bf16-sequential", "fp16-sequential-no-fma", "fp16-blocked"),
    *("fp16-chunked", "fp32-sequential", "fp32-pairwise", "a100-fp16", "h100-bf16", "a100-tf32"),
    *("h100-fp8-promoted", "h100-fp8-mma", "h100-fp16-accumulate-fp16", "mi250-fp16"),
    *("mi300-fp8", "mi300-bf16", "amx-bf16", "avx512-bf16", "mi250-bf16"),
    *("h100-fp8-mma-accumulate-fp16", "mi100-fp16", "exact-fp8", "fp16-exact", "fp32-exact"),
)
EXACT = Arithmetic(name="exact-fp8", inputs=E4M3FN, sums=Sums(kind="exact", block=32))
"""Blocks of 32 products, rounded once."""


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kind", CASES)
def test_compiled_code_gives_what_the_reference_gives(name, kind):
    it = EXACT if name == EXACT.name else get_arithmetic(name)
    rng, plan = np.random.default_rng(5), plan_of(it)
    a = hard(rng, kind, (2, 6, 40), it.inputs).to(plan.dtype)
    b = hard(rng, kind, (2, 40, 37), it.inputs).to(plan.dtype)
    c = hard(rng, kind, (2, 6, 37), it.sums.outer or it.sums.format).to(plan.dtype)
    for start in (None, c):
        ours = cpu_products().multiply(plan, a, b, start)
        assert equal_bits(ours, reference_products().multiply(plan, a, b, start))


@pytest.mark.parametrize("mode", ["toward-zero", "up", "down", "nearest-away", "odd"])
def test_other_roundings_give_what_the_reference_gives(mode):
    for fmt in (BINARY16, BFLOAT16, BINARY32):
        plan = ProductPlan(kind="chain", format=fmt, inputs=BINARY16, rounding=Rounding(mode))
        rng = np.random.default_rng(6)
        a, b = (hard(rng, "normal", s, BINARY16).float() for s in ((1, 5, 30), (1, 30, 9)))
        ours = cpu_products().multiply(plan, a, b)
        assert equal_bits(ours, reference_products().multiply(plan, a, b))


@pytest.mark.parametrize("name", ["fp16-sequential", "h100-fp16", "fp32-pairwise"])
def test_results_do_not_depend_on_threads(name):
    a, b = operands(150, 64, 100)
    one = matmul(a, b, get_arithmetic(name))
    torch.set_num_threads(2)
    assert torch.equal(matmul(a, b, get_arithmetic(name)), one)


@pytest.mark.parametrize(
    "name", ["bf16-sequential", "fp32-sequential", "a100-bf16", "fp32-pairwise"]
)
def test_results_do_not_depend_on_flush_flags(name):
    it, rng = get_arithmetic(name), np.random.default_rng(7)
    a = hard(rng, "tiny", (1, 5, 30), BFLOAT16).float()
    b = hard(rng, "normal", (1, 30, 40), BFLOAT16).float()
    plan = plan_of(it)
    plain = cpu_products().multiply(plan, a, b), reference_products().multiply(plan, a, b)
    assert ((plain[0] != 0) & (plain[0].abs() < 2.0**-126)).any()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush")
    try:
        flushing = cpu_products().multiply(plan, a, b), reference_products().multiply(plan, a, b)
    finally:
        torch.set_flush_denormal(False)
    for before, after in zip(plain, flushing, strict=True):
        assert torch.equal(before.view(torch.int32), after.view(torch.int32))


def test_empty_products():
    for it in (get_arithmetic("fp16-sequential"), get_arithmetic("a100-fp16")):
        assert matmul(torch.ones(3, 0), torch.ones(0, 4), it).eq(0).all()
        assert linear(torch.ones(0, 5), torch.ones(2, 5), None, it).shape == (0, 2)


def test_aligned_sums_read_zeros_behind_the_end():
    a, b = operands(4, 21, 33)
    for name in ("a100-fp16", "h100-fp16"):
        it = get_arithmetic(name)
        padded = matmul(
            torch.nn.functional.pad(a, (0, 11)), torch.nn.functional.pad(b, (0, 0, 0, 11)), it
        )
        assert torch.equal(matmul(a, b, it), padded)


def test_every_emulated_arithmetic_runs():
    a, b = operands(3, 40, 5)
    exact = a.double() @ b.double()
    for it in list_arithmetics():
        got = matmul(a, b, it)
        assert (got - exact).abs().max() < 40 * 0.25, it.name
