"""Every model of the catalogue against exact integers, dot product by dot product.

By default 1,536 dot products a model; `pytest -m slow` with DEEPHOCHULI_DOTS=1000000 forms
that many for each, most of them against the oracle that works on arrays.
"""

import os

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic, list_arithmetics
from deephochuli.arithmetic._plans import plan_of
from deephochuli.formats import BINARY32, BINARY64, round_array
from deephochuli.kernels.products import multiply, reference_products
from deephochuli.kernels.products._cpu_parameters import UNKNOWN, Sizes, way_of
from tests.reference.products import arrays, draws, oracle

DOTS = int(os.environ.get("DEEPHOCHULI_DOTS", "20000"))


def distinct():
    """One arithmetic for each way of forming sums."""
    found = {}
    for it in list_arithmetics():
        if it.sums.is_emulated:
            found.setdefault((it.sums, it.inputs), it)
    return list(found.values())


MODELS = distinct()
IDS = [it.name for it in MODELS]


def mismatches(it, seed, n_dots, form=multiply, side=8, depth=24, truth=oracle.matrix):
    """How many dot products differ from an oracle, and how many there were."""
    rng = np.random.default_rng(seed)
    plan, wrong, done = plan_of(it), 0, 0
    fmt = it.inputs or BINARY32
    while done < n_dots:
        for kind in draws.KINDS:
            k = int(rng.integers(1, depth + 1))
            a, b = draws.matrices(rng, kind, side, k, side, fmt)
            c = None
            if rng.random() < 0.5:
                c = draws.starts(rng, kind, (side, side), it.sums.outer or it.sums.format)
            try:
                expected = truth(it, a, b, c)
            except OverflowError:
                continue
            tensors = [
                None if x is None else torch.tensor(x, dtype=plan.dtype)[None] for x in (a, b, c)
            ]
            got = form(plan, *tensors)[0].double().numpy()
            equal = (got == expected) | (np.isnan(got) & np.isnan(expected))
            wrong += int((~equal).sum())
            done += equal.size
    return wrong, done


@pytest.mark.parametrize("it", MODELS, ids=IDS)
def test_every_model_is_exact(it):
    wrong, done = mismatches(it, seed=1, n_dots=1000, side=16, depth=24)
    assert wrong == 0, f"{wrong} of {done}"


def test_late_joining_is_exact_often_enough():
    """What is cut last decides one sum in twenty thousand."""
    it = next(it for it in MODELS if it.name == "mi300-fp16")
    wrong, done = mismatches(it, 2, 110_000, side=96, depth=16, truth=arrays.matrix)
    assert wrong == 0, f"{wrong} of {done}"


@pytest.mark.parametrize("name", ["mi300-fp16", "mi300-xf32", "mi300-fp8"])
@pytest.mark.parametrize("gap", [3, 6, 7, 8, 10, 13])
def test_late_joining_to_much_larger_sums(name, gap):
    """Products of few bits, so that sums are often ties but for what is left of the products."""
    it, rng, n = get_arithmetic(name), np.random.default_rng(gap), 64
    k = it.sums.block
    a = np.ldexp(rng.integers(-31, 32, (n, k)), rng.integers(-14, -4, (n, k)))
    b = np.ldexp(rng.integers(-15, 16, (k, n)), -3)
    a, b = (round_array(x, it.inputs) for x in (a, b))
    c = np.ldexp(rng.choice([-1.0, 1.0], (n, n)) * rng.integers(1 << 23, 1 << 24, (n, n)), gap - 23)
    got = multiply(plan_of(it), *(torch.tensor(x).float()[None] for x in (a, b, c)))
    assert np.array_equal(got[0].double().numpy(), arrays.matrix(it, a, b, c))


@pytest.mark.parametrize("name", ["mi300-bf16", "mi300-xf32", "mi300-fp16", "mi300-fp8"])
@pytest.mark.parametrize("gap", range(-36, 72, 12))
def test_late_joining_to_sums_of_any_size(name, gap):
    """Powers of two, their neighbours and others, up to 2^84 times as large as the products."""
    it, rng, n = get_arithmetic(name), np.random.default_rng(gap + 99), 64
    a, b = (rng.standard_normal((n, it.sums.block)) for _ in range(2))
    a[rng.random(a.shape) < 0.3] = 0.0
    a, b = (round_array(x, it.inputs) for x in (a, b.T))
    most = (1 << 24) - 1
    sizes = np.stack(
        [np.full((n, n), 1 << 23), np.full((n, n), most), rng.integers(1 << 23, most, (n, n))]
    )
    sizes = np.where(rng.random(sizes.shape) < 0.5, sizes, sizes ^ 1)
    chosen = np.take_along_axis(sizes, rng.integers(0, 3, (1, n, n)), 0)[0]
    c = np.ldexp(rng.choice([-1.0, 1.0], (n, n)) * chosen, rng.integers(gap, gap + 13, (n, n)) - 23)
    # In the range of the tiles: products and running sums together.
    down = 2.0 ** -max(0, (gap + 12 - 40 + 1) // 2 * 2)
    a, c = (a * down, c * down) if it.inputs.emin < -100 else (a, c)
    got = multiply(plan_of(it), *(torch.tensor(x).float()[None] for x in (a, b, c)))
    assert np.array_equal(got[0].double().numpy(), arrays.matrix(it, a, b, c))


@pytest.mark.parametrize(("units", "places"), [(127, 0), (128, 1)])
def test_late_joining_leaves_away_what_binary32_would_round_up(units, places):
    """Products of just less than 1 + 2^-7, half a place of their sum, have one bit too many."""
    a = torch.tensor([[[1.0, 1023 * 2.0**-17, units * 2.0**-24, 0.0]]])
    start = torch.tensor([[[2.0**24 + 4]]])
    got = multiply(plan_of(get_arithmetic("mi300-xf32")), a, torch.ones(1, 4, 1), start)
    assert got.item() == start.item() + 2 * places


@pytest.mark.parametrize("name", ["v100-fp16", "a100-fp16", "h100-fp16"])
def test_sums_that_stay_inside_fp16(name):
    """Where it is known that nothing overflows, as where it is not: ties but for the last bits."""
    it, rng, n = get_arithmetic(f"{name}-accumulate-fp16"), np.random.default_rng(5), 96
    k = 2 * it.sums.block
    a = np.ldexp(rng.integers(-127, 128, (n, k)), rng.integers(-14, -6, (n, k)))
    b = np.ldexp(rng.integers(-2047, 2048, (k, n)), rng.integers(-18, -10, (k, n)))
    tensors = [torch.tensor(round_array(x, it.inputs)).float()[None] for x in (a, b)]
    sizes = (Sizes(1.0, 1.0), UNKNOWN)
    names = {way_of(plan_of(it), each, has_start=False).steady[:14] for each in sizes}
    assert names == {"steady_bounded", "steady_nearest"}
    got = multiply(plan_of(it), *tensors)
    expected = arrays.matrix(it, *(x[0].double().numpy() for x in tensors), None)
    assert np.array_equal(got[0].double().numpy(), expected)
    large = [x * 2.0**shift for x, shift in zip(tensors, (6, 6), strict=True)]
    got = multiply(plan_of(it), *large)
    expected = arrays.matrix(it, *(x[0].double().numpy() for x in large), None)
    assert np.array_equal(got[0].double().numpy(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("it", MODELS, ids=IDS)
def test_every_model_is_exact_many_times(it):
    side = 96 if arrays.serves(it) else 32
    wrong, done = mismatches(it, 2, DOTS, side=side, depth=16, truth=arrays.matrix)
    print(f"{it.name}: {done} dot products, {wrong} wrong")
    assert done >= DOTS
    assert wrong == 0


@pytest.mark.parametrize("it", [*filter(arrays.serves, MODELS)], ids=lambda it: it.name)
def test_the_two_oracles_agree(it):
    rng, n = np.random.default_rng(9), 0
    for kind in draws.KINDS:
        k, fmt = int(rng.integers(1, 24)), it.inputs or BINARY32
        a, b = draws.matrices(rng, kind, 3, k, 4, fmt)
        c = draws.starts(rng, kind, (3, 4), it.sums.outer or it.sums.format)
        for start in (None, c):
            try:
                expected = oracle.matrix(it, a, b, start)
            except OverflowError:
                continue
            assert np.array_equal(arrays.matrix(it, a, b, start), expected, equal_nan=True)
            n += 1
    assert n > 6


@pytest.mark.parametrize("name", ["fp16-sequential", "a100-tf32", "mi300-fp8", "fp64-sequential"])
def test_the_reference_is_exact_too(name):
    it = next(it for it in list_arithmetics() if it.name == name)
    wrong, done = mismatches(it, 3, 60, form=reference_products().multiply, side=4)
    assert wrong == 0, f"{wrong} of {done}"


def test_the_oracle_sees_a_double_rounding():
    """2^-24 + (1 + 2^-11) in FP16 is above the tie; rounded to binary32 first, it is the tie."""
    it = next(it for it in list_arithmetics() if it.name == "fp16-sequential")
    a = np.array([[2.0**-20, 1 + 2.0**-10]])
    b = np.array([[2.0**-4], [1.0]])
    x, y = 3.0, 683.0 * 2.0**-11  # their product is the tie 1 + 2^-11
    a[0, 1], b[1, 0] = x, y
    assert x * y == 1 + 2.0**-11
    expected = oracle.matrix(it, a, b)
    assert expected[0, 0] == 1 + 2.0**-10
    once = np.float32(a[0, 0] * b[0, 0] + x * y)
    assert np.float16(once) == 1.0
    got = multiply(plan_of(it), *(torch.tensor(v, dtype=torch.float32)[None] for v in (a, b)))
    assert got.item() == expected[0, 0]


def test_binary64_is_in_the_catalogue():
    assert any(it.sums.format == BINARY64 for it in MODELS)
