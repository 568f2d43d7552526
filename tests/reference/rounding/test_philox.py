"""The random bits: Philox4x32-10 by its published values, and the same on every back end."""

import numpy as np
import pytest
import torch

from deephochuli.formats import Rounding, get_format
from deephochuli.kernels.rounding import StochasticKey, cpu_rounder, plan_for
from deephochuli.kernels.rounding import _reference as reference
from tests.reference.rounding.philox import philox4x32, random_bits

# Random123 (Salmon, Moraes, Dror, Shaw 2011), known answers of philox4x32 with 10 rounds.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert tuple(philox4x32(counter, key)) == expected
    index = counter[0] | counter[1] << 32
    seed = StochasticKey(key[0] | key[1] << 32, counter[2], counter[3])
    start = torch.tensor([index if index < 1 << 63 else index - (1 << 64)])
    assert tuple(int(word) for word in reference.philox(start, seed)) == expected


def bits_seen(rounder, n, key):
    """The top bit that each element of a tensor met, found by rounding tiny numbers.

    2^-25 lies halfway between 0 and the smallest FP16 number: the upper one is taken when the top
    bit is set.
    """
    x = torch.full((n,), 2.0**-25)
    y = torch.empty_like(x)
    rounder.round(x, y, plan_for(get_format("fp16"), Rounding.STOCHASTIC, None, "float32"), key)
    return (y.numpy() > 0).astype(np.int64)


@pytest.mark.parametrize("n", [1, 255, 257, 1023, 1025, 5000])
def test_the_bits_of_an_element_are_those_of_its_index(rounder, n):
    key = StochasticKey(2**63 + 12345, 2**32 - 1, 3)
    assert np.array_equal(bits_seen(rounder, n, key), random_bits(n, key) >> 31)


def test_other_seeds_streams_and_steps_give_other_bits():
    n = 4096
    keys = [StochasticKey(1), StochasticKey(2), StochasticKey(1, 1), StochasticKey(1, 0, 1)]
    keys += [StochasticKey(1 + (1 << 32)), StochasticKey(1, 1, 1)]
    seen = [bits_seen(cpu_rounder(), n, key) for key in keys]
    for i, first in enumerate(seen):
        assert abs(first.mean() - 0.5) < 0.05
        for second in seen[:i]:
            assert 0.4 < (first == second).mean() < 0.6


def test_neighbours_and_words_do_not_repeat():
    bits = random_bits(1 << 16, StochasticKey(9))
    assert np.array_equal(bits, reference.random_bits(StochasticKey(9), 0, 1 << 16, "cpu").numpy())
    assert len(np.unique(bits)) > (1 << 16) - 10
    assert np.array_equal(bits[5000:6000], random_bits(1000, StochasticKey(9), 5000))


def test_halves_have_nothing_to_do_with_each_other():
    """Of an element, of neighbours, and of those that share a counter: 5 standard deviations."""
    n = 1 << 18
    bits = random_bits(n, StochasticKey(13, 2, 1))
    upper, lower = bits >> 16, bits & 0xFFFF
    for first, second in ((upper, lower), (upper, upper), (lower, lower)):
        for apart in (0, 1, 2, 16, 128, 256, 1024):
            if first is second and apart == 0:
                continue
            ours, theirs = first[apart:], second[: n - apart]
            assert abs(np.corrcoef(ours, theirs)[0, 1]) < 5 / (n - apart) ** 0.5
            assert (ours == theirs).sum() < 4 + 5 * 2
            cells = np.bincount(ours >> 12 << 4 | theirs >> 12, minlength=256)
            chi2 = ((cells - (n - apart) / 256) ** 2 / ((n - apart) / 256)).sum()
            assert abs(chi2 - 255) < 5 * (2 * 255) ** 0.5


def test_the_mean_is_the_number():
    """Over many elements the sum of roundings is unbiased: 5 standard deviations."""
    n, fraction = 1 << 18, 0.3
    fmt = get_format("bf16")
    x = torch.full((n,), 1 + fraction * 2**-7)
    y = torch.empty_like(x)
    cpu_rounder().round(x, y, plan_for(fmt, Rounding.STOCHASTIC, None, "float32"), StochasticKey(4))
    share = (y > 1).double().mean().item()
    assert abs(share - fraction) < 5 * (fraction * (1 - fraction) / n) ** 0.5


def test_over_many_keys_sums_vary_as_those_of_independent_elements():
    """Bits that two elements share would make the variance larger, too even ones smaller."""
    n, n_keys, fmt = 1 << 14, 1000, get_format("bf16")
    plan = plan_for(fmt, Rounding.STOCHASTIC, None, "float32")
    x, y, share = torch.full((n,), 1 + 0.75 * 2**-7), torch.empty(n), []
    for seed in range(n_keys):
        cpu_rounder().round(x, y, plan, StochasticKey(seed))
        share.append(int((y > 1).sum()) / n)
    z = (np.array(share) - 0.75) / (0.75 * 0.25 / n) ** 0.5
    assert abs(z.mean()) < 4 / n_keys**0.5
    assert abs(z.var() - 1) < 4 * (2 / n_keys) ** 0.5
