"""Replayed sums against exact rational arithmetic, all pairs of FP8, and loops of numpy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.arithmetic import get_arithmetic, matmul
from deephochuli.errors import ArithmeticSpecError
from deephochuli.formats import (
    BFLOAT16,
    BINARY16,
    BINARY32,
    BINARY64,
    E4M3FN,
    E5M2,
    TF32,
    Overflow,
    Rounding,
    round_array,
    round_scalar,
)
from deephochuli.kernels.addends import ORDERS, Addends

FORMATS = [BINARY64, BINARY32, TF32, BINARY16, BFLOAT16, E4M3FN, E5M2]


class Oracle:
    """One sum by the definition, in rational numbers."""

    def __init__(self, fmt, rounding, fused):
        self.fmt, self.rounding, self.fused = fmt, rounding, fused
        self.n_addends = self.n_additions = self.n_absorbed = self.n_underflowed = 0
        self.lost = self.mass = Fraction(0)

    def round(self, x):
        return Fraction(round_scalar(x, self.fmt, self.rounding, Overflow.SATURATE))

    def take(self, a, b):
        x = Fraction(a) * Fraction(b)
        self.mass += abs(x)
        if not x:
            return x
        self.n_addends += 1
        if self.fused:
            return x
        y = self.round(x)
        self.n_underflowed += y == 0
        return y

    def add(self, a, b):
        total = self.round(a + b)
        if a and b:
            self.n_additions += 1
            large, small = (a, b) if abs(a) >= abs(b) else (b, a)
            if total == self.round(large):
                self.n_absorbed += 1
                self.lost += abs(small)
        return total

    def chain(self, terms):
        total = Fraction(0)
        for x in terms:
            total = self.add(total, x)
        return total

    def sum(self, a, b, order, block):
        terms = [self.take(x, y) for x, y in zip(a, b, strict=True)]
        if order == "sequential":
            return self.chain(terms)
        if order == "blocked":
            return self.chain([self.chain(terms[i : i + block]) for i in range(0, len(a), block)])
        while len(terms) > 1:
            pairs = [self.add(*terms[i : i + 2]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[len(terms) // 2 * 2 :]
        return terms[0]


def factors(fmt, n_rows, n_terms, seed):
    """Values of a format with wide exponents, cancellations, subnormal products and zeros."""
    random = np.random.default_rng(seed)
    low = max(fmt.emin // 2 - 2, -40)
    high = min(fmt.emax // 2 - 4, 20)
    shape = (2, n_rows, n_terms)
    wide = random.standard_normal(shape) * 2.0 ** random.integers(low, high + 1, shape)
    near = random.standard_normal(shape)
    x = np.where(random.random((1, n_rows, 1)) < 0.5, wide, near)
    x = np.where(random.random(shape) < 0.1, 0.0, x)
    x[0, :, 1::3] = -x[0, :, :-1:3][:, : x[0, :, 1::3].shape[1]]
    narrow = TF32 if fmt.precision > 24 else fmt
    return round_array(x, narrow, overflow=Overflow.SATURATE)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rounding", [Rounding.NEAREST_EVEN, Rounding.TOWARD_ZERO])
def test_a_replay_is_that_of_rational_numbers(fmt, order, fused, rounding):
    a, b = factors(fmt, 6, 21, seed=fmt.precision)
    replay = Addends(a, b).replay(fmt, order=order, block=4, fused=fused, rounding=rounding)
    for row in range(len(a)):
        oracle = Oracle(fmt, rounding, fused)
        result = oracle.sum(a[row], b[row], order, 4)
        assert Fraction(replay.result[row]) == result
        for name in ("n_addends", "n_additions", "n_absorbed", "n_underflowed"):
            assert getattr(replay, name)[row] == getattr(oracle, name), name
        assert replay.lost[row] == pytest.approx(float(oracle.lost), rel=1e-12)
        assert replay.mass[row] == pytest.approx(float(oracle.mass), rel=1e-12)
        exact = sum((Fraction(x) * Fraction(y) for x, y in zip(a[row], b[row], strict=True)), 0)
        assert replay.exact[row] == pytest.approx(float(exact), rel=2.0**-50, abs=0)
        assert replay.error[row] == pytest.approx(float(result - exact), rel=2.0**-50, abs=0)


@pytest.mark.parametrize("seed", range(3))
def test_exact_sums_are_exact_over_the_whole_range_of_binary64(seed):
    random = np.random.default_rng(seed)
    a = random.standard_normal((20, 50)) * 2.0 ** random.integers(-1060, 1000, (20, 50))
    a[:, 25:] = -a[:, :25] * (1 + random.choice([0, 2.0**-52], (20, 25)))
    a[0] = 2.0**-1074
    sums = Addends(a).minus(np.zeros(20))
    for row, values in zip(sums, a, strict=True):
        exact = float(sum(map(Fraction, values)))
        assert row == exact or abs(row - exact) <= 2.0**-50 * abs(exact)


def test_products_of_binary64_numbers_are_summed_exactly():
    random = np.random.default_rng(5)
    a, b = random.standard_normal((2, 8, 40))
    b[:, 20:], a[:, 20:] = b[:, :20], -a[:, :20] * (1 + 2.0**-52)
    for row, x, y in zip(Addends(a, b).minus(np.zeros(8)), a, b, strict=True):
        exact = sum(Fraction(p) * Fraction(q) for p, q in zip(x, y, strict=True))
        assert row == pytest.approx(float(exact), rel=2.0**-50, abs=0)


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=str)
def test_every_pair_of_fp8_numbers(fmt):
    values = np.array([v for v in fmt.values() if math.isfinite(v) and v])
    a, b = (each.ravel() for each in np.meshgrid(values, values))
    replay = Addends(np.stack([a, b], 1)).replay(fmt)
    large = np.where(np.abs(a) >= np.abs(b), a, b)
    # FP8 sums are exact in binary64; beyond the largest number absorption is decided by gaps.
    total = round_array(a + b, fmt, overflow=Overflow.SATURATE)
    inside = np.abs(a + b) <= fmt.max_finite
    assert np.array_equal(replay.n_absorbed[inside] == 1, (total == large)[inside])
    assert np.array_equal(replay.result[inside], total[inside])
    random = np.random.default_rng(1)
    for i in random.integers(0, len(a), 2000):
        small = b[i] if large[i] == a[i] else a[i]
        assert replay.n_absorbed[i] == fmt.absorbs(float(large[i]), float(small)), (a[i], b[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_sequential_sums_are_those_of_a_loop(dtype):
    random = np.random.default_rng(2)
    a, b = random.standard_normal((2, 64, 300)).astype(dtype)
    total = np.zeros(64, dtype)
    for k in range(300):
        total = total + a[:, k] * b[:, k]
    fmt = BINARY32 if dtype is np.float32 else BINARY16
    assert np.array_equal(Addends(a, b).replay(fmt).result, total)


def test_a_tie_is_absorbed_by_an_even_significand_only():
    """Thresholds at 1 and at 1 + ulp, and the half-size gap below a power of two."""
    half = 2.0**-24
    pairs = [
        (1, half),
        (1, half * (1 + 2.0**-23)),
        (1 + 2 * half, half),
        (1, -half),
        (1, -half / 2),
    ]
    replay = Addends(pairs).replay(BINARY32)
    assert replay.n_absorbed.tolist() == [1, 0, 0, 0, 1]


def test_zeros_are_in_no_denominator_and_underflow_is_counted_apart():
    a = [[0.0, 2.0**-20, 1.0, 2.0**-14, -0.0]]
    b = [[1.0, 2.0**-20, 1.0, 2.0**-14, 1.0]]
    replay = Addends(a, b).replay(BINARY16)
    assert replay.n_addends[0] == 3
    assert replay.n_underflowed[0] == 2
    assert replay.n_additions[0] == 0
    assert Addends(a, b).replay(BINARY32).n_absorbed[0] == 2


@pytest.mark.parametrize(("fmt", "result"), [(BINARY16, math.inf), (E4M3FN, 448.0)], ids=str)
def test_an_overflow_is_counted_and_is_no_absorption(fmt, result):
    top = fmt.max_finite
    replay = Addends([[top, top, top]]).replay(fmt, order="sequential")
    assert replay.n_overflowed[0] >= 1
    assert replay.n_absorbed[0] == 0
    assert replay.result[0] == result or (fmt is E4M3FN and math.isnan(replay.result[0]))


def test_a_sum_of_nothing_is_zero():
    replay = Addends(np.zeros((2, 0))).replay(BINARY32)
    assert replay.result.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "sequentail"}, "Did you mean 'sequential'"),
        ({"block": 0}, "block=0"),
        ({"rounding": "up"}, "rounded 'up'"),
    ],
)
def test_what_cannot_be_replayed_is_refused(arguments, message):
    with pytest.raises(ArithmeticSpecError, match=message):
        Addends([[1.0, 2.0]]).replay(BINARY32, **arguments)


def test_addends_that_are_no_finite_matrices_are_refused():
    with pytest.raises(ArithmeticSpecError, match="infinite or NaN"):
        Addends([[1.0, math.inf]])
    with pytest.raises(ArithmeticSpecError, match="expected equal matrices"):
        Addends([[1.0, 2.0]], [[1.0]])


TENSOR_CORES = ["v100-fp16", "a100-tf32", "h100-fp8", "h100-fp8-promoted"]


@pytest.mark.parametrize("name", TENSOR_CORES)
def test_sums_of_tensor_cores_are_those_of_the_emulated_products(name):
    arithmetic = get_arithmetic(name)
    sums, inputs = arithmetic.sums, arithmetic.inputs
    a, b = factors(inputs, 12, 300, seed=7)
    expected = [
        matmul(torch.tensor(x[None]).float(), torch.tensor(y[:, None]).float(), arithmetic)
        for x, y in zip(a, b, strict=True)
    ]
    replay = Addends(a, b).replay_aligned(
        sums.format,
        inputs=inputs,
        block=sums.block,
        fraction_bits=sums.fraction_bits,
        rounding=sums.rounding,
        alignment=sums.alignment,
        zero_exponent=sums.zero_exponent,
        chunk=sums.chunk,
        outer=sums.outer,
    )
    assert replay.result.tolist() == [each.item() for each in expected]
    assert (replay.n_absorbed <= replay.n_additions).all()
    assert (replay.lost <= replay.mass * 80).all()


def test_a_term_of_which_nothing_is_left_is_absorbed():
    """Blocks of 4, 10 bits: 2^-10 stays, 2^-11 is cut off, and so is a running sum too small."""
    a = [[1.0, 2.0**-10, -(2.0**-11), 0.0, 2.0**12, 0.0, 0.0, 0.0]]
    replay = Addends(a, np.ones((1, 8))).replay_aligned(
        BINARY32, inputs=BINARY16, block=4, fraction_bits=10
    )
    assert replay.n_additions[0] == 3  # three terms, then two
    assert replay.n_absorbed[0] == 2
    assert replay.lost[0] == 2.0**-11 + 1 + 2.0**-10
    assert replay.result[0] == 4096
