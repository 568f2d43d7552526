"""Bounds on significant bits: against quantiles of scipy, noise of known size, and a package."""

import math

import numpy as np
import pytest
import torch

from deephochuli.analysis.significance import (
    bernoulli_probability,
    deviation_factor,
    estimated_bits,
    penalty_bits,
)
from deephochuli.analysis.significance._bits import chi_squared_quantile
from deephochuli.analysis.significance._spread import Spread

REPEATS = 10_000
SIGMA = 2.0**-12


def synthetic(n_samples, dtype=torch.float32, seed=0):
    """Samples of a normal law with relative deviation 2^-12, one repeat in each element."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n_samples, REPEATS, dtype=torch.float64, generator=generator)
    return (1.5 * (1 + SIGMA * noise)).to(dtype)


def spread_of(samples, first=None):
    spread = Spread(samples[0] if first is None else first)
    for sample in samples:
        spread.add(sample)
    return spread


@pytest.mark.parametrize("n_free", [1, 2, 3, 7, 15, 63])
@pytest.mark.parametrize("share", [0.025, 0.05, 0.5, 0.975])
def test_quantiles_are_those_of_scipy(share, n_free):
    stats = pytest.importorskip("scipy.stats")
    assert chi_squared_quantile(share, n_free) == pytest.approx(
        float(stats.chi2.ppf(share, n_free)), rel=1e-8
    )


@pytest.mark.parametrize("n_samples", [3, 4, 8, 16])
def test_a_95_percent_bound_covers_the_true_bits_in_95_percent_of_repeats(n_samples):
    spread = spread_of(synthetic(n_samples))
    bits = estimated_bits(spread.mean, spread.deviation, 24)
    sure = bits - penalty_bits(n_samples, probability=0.95, confidence=0.95)
    # Bits that 95 % of the numbers of the law have: |x - mu| <= 1.96 sigma.
    true = -math.log2(SIGMA) - math.log2(1.959963984540054)
    covered = float((sure <= true).double().mean())
    assert 0.94 <= covered <= 0.96


@pytest.mark.parametrize("n_samples", [3, 4, 8, 16])
def test_a_two_sided_interval_covers_too(n_samples):
    """The form of Sohier et al. is the upper end of an interval: alone it covers 97.5 %."""
    deviation = spread_of(synthetic(n_samples, seed=1)).deviation / (1.5 * SIGMA)
    high = deviation_factor(n_samples, 0.95, sides="two")
    low = math.sqrt((n_samples - 1) / chi_squared_quantile(0.975, n_samples - 1))
    below, above = deviation * high < 1, deviation * low > 1
    assert 0.94 <= float((~below & ~above).double().mean()) <= 0.96
    assert 0.97 <= float((~below).double().mean()) <= 0.98


@pytest.mark.parametrize("n_samples", [3, 8, 16])
def test_the_bernoulli_bound_covers_whatever_the_law(n_samples):
    """A further sample lies within the reach of all others with at least the stated probability."""
    generator = torch.Generator().manual_seed(2)
    samples = torch.randn(n_samples, REPEATS, generator=generator).abs() ** 3
    reach = samples.max(0).values
    # Probability that one more lies below it, known exactly for this law.
    within = torch.special.erf((reach.double() ** (1 / 3)) / math.sqrt(2))
    held = float((within >= bernoulli_probability(n_samples, 0.95)).double().mean())
    assert 0.94 <= held <= 0.96


@pytest.mark.parametrize("n_samples", [4, 8, 16])
def test_agrees_with_the_package_significantdigits(n_samples):
    package = pytest.importorskip("significantdigits")
    samples = synthetic(n_samples, torch.float64)[:, :320]
    spread = spread_of(samples)
    theirs = package.significant_digits(
        samples.numpy(), reference=samples.numpy().mean(0), probability=0.9, confidence=0.8
    )
    ours = estimated_bits(spread.mean, spread.deviation, 53)
    ours = ours - penalty_bits(n_samples, probability=0.9, confidence=0.8, sides="two")
    # Theirs divides by n where ours divides by n - 1.
    biased = 0.5 * math.log2(n_samples / (n_samples - 1))
    assert np.abs(theirs - (ours.numpy() + biased)).max() < 1e-9


def test_agrees_with_the_general_estimate_of_the_package():
    package = pytest.importorskip("significantdigits")
    samples = synthetic(8, torch.float64)[:, :320]
    theirs = package.significant_digits(
        samples.numpy(), reference=samples.numpy().mean(0), method="general"
    )
    spread = spread_of(samples)
    ours = estimated_bits(spread.mean, spread.largest, 53)
    assert np.array_equal(theirs, ours.floor().numpy())  # theirs counts whole bits


def test_bits_are_capped_and_agreement_is_the_cap():
    mean = torch.tensor([1.0, 1.0, 1.0, -4.0])
    deviation = torch.tensor([0.0, 2.0**-30, 8.0, 2.0**-8])
    assert estimated_bits(mean, deviation, 24).tolist() == [24, 24, 0, 10]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_spread_is_that_of_all_samples_at_once(dtype):
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(200, generator=generator).to(dtype)
    noise = torch.randn(16, 200, generator=generator) * 2.0**-6
    samples = (first.float() * (1 + noise)).to(dtype)
    spread, wide = spread_of(samples, first), samples.double()
    assert torch.allclose(spread.mean, wide.mean(0), rtol=1e-6)
    assert torch.allclose(spread.deviation, wide.std(0), rtol=1e-5)
    assert torch.allclose(spread.largest, (wide - wide.mean(0)).abs().max(0).values, rtol=1e-5)
    assert torch.allclose(spread.shift, wide.mean(0) - first.double(), rtol=1e-4, atol=1e-8)


def test_a_spread_of_the_last_bit_does_not_drown_in_the_mean():
    """Samples that differ by one ulp: a mean kept in their own dtype would lose them."""
    first = torch.ones(1000)
    up = torch.nextafter(first, torch.tensor(2.0))
    samples = torch.stack([first, up] * 4)
    spread = spread_of(samples, first)
    assert torch.allclose(spread.deviation, samples.double().std(0), rtol=1e-6)
    equal = spread_of(torch.stack([up] * 7), first)
    assert (equal.deviation == 0).all()
    assert (equal.largest == 0).all()


def test_signs_and_zeros():
    first = torch.tensor([1.0, -1.0, 1.0, 0.0, 0.0])
    spread = Spread(first)
    for sample in ([1.0, -2.0, -1.0, 0.0, 1.0], [2.0, -1.0, 1.0, 0.0, 0.0]):
        spread.add(torch.tensor(sample))
    assert spread.keeps_sign.tolist() == [True, True, False, False, False]
    assert spread.is_zero.tolist() == [False, False, False, True, False]
