"""Lowest bits, ulps and trailing zeros, against integers and exact rationals."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.analysis.barrier import lowest_bits, trailing_zeros, ulps
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64


def every_positive(dtype):
    codes = torch.arange(1, 1 << 15, dtype=torch.int32).to(torch.int16)
    values = codes.view(dtype).double().numpy()
    return values[np.isfinite(values)]


def lowest_bit_by_integers(x):
    exact = Fraction(float(x))
    power = Fraction(1)
    while exact % (2 * power) == 0:
        power *= 2
    while exact % power:
        power /= 2
    return power


def test_lowest_bits_are_the_largest_powers_of_two_that_divide():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.normal(size=50), rng.integers(1, 99, 50) * 2.0**-20])
    numbers = np.append(numbers, [5e-324, 1.0, -6.0, 2.0**60])
    for x, low in zip(numbers, lowest_bits(numbers), strict=True):
        assert Fraction(low) == lowest_bit_by_integers(x)
    assert lowest_bits(np.zeros(1)) == np.inf


@pytest.mark.parametrize(("dtype", "fmt"), [(torch.float16, BINARY16), (torch.bfloat16, BFLOAT16)])
def test_trailing_zeros_of_every_16_bit_number(dtype, fmt):
    values = every_positive(dtype)
    codes = np.arange(1, len(values) + 1)
    stored = fmt.precision - 1
    significand = (codes & ((1 << stored) - 1)) + np.where(codes >> stored, 1 << stored, 0)
    expected = [int(m & -m).bit_length() - 1 for m in significand.tolist()]
    assert trailing_zeros(values, fmt).tolist() == expected


@pytest.mark.parametrize(("dtype", "fmt"), [(np.float32, BINARY32), (np.float64, BINARY64)])
def test_ulps_are_numpys_spacing(dtype, fmt):
    rng = np.random.default_rng(1)
    x = (rng.normal(size=1000) * 2.0 ** rng.integers(-150, 100, 1000)).astype(dtype)
    assert np.array_equal(ulps(x.astype(np.float64), fmt), np.spacing(np.abs(x)).astype(float))
