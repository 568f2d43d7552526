"""Lattices and verdicts of pre-activations that are made to have them."""

import numpy as np
import pytest
import torch
from torch import nn

from deephochuli.analysis.barrier import count, counted, judge, lattice_of
from deephochuli.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from tests.reference.barrier.planted import KINDS, planted


def judged(case):
    from deephochuli.analysis.barrier._count import near_threshold

    return judge(count(case.z, near_threshold(case.z), 2048), case.format, bias=case.bias)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_limits_are_found(kind):
    for seed in range(1000, 1006):
        assert judged(planted(kind, seed)).limit == kind


def test_zeros_are_as_many_as_biases_predict():
    zeros = [judged(planted("bias", seed)).zeros for seed in range(24)]
    expected = sum(each.by_lattice for each in zeros)
    assert abs(sum(each.seen for each in zeros) - expected) < 4 * expected**0.5
    assert min(each.lattice_p for each in zeros) > 1e-4


def test_no_limit_but_rarity_is_found_in_fp64():
    assert {judged(planted("rarity", seed, BINARY64)).limit for seed in range(2000, 2010)} == {
        "rarity"
    }


def continuous(n, channels, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, 1, generator=generator, dtype=torch.float64).to(dtype)


def test_a_bias_added_last_in_fp32_is_the_owner_of_the_lattice_and_is_no_limit_yet():
    bias = torch.tensor([0.3, -0.02, 1.7])
    z = continuous(1 << 15, 3, 0, torch.float32) + bias[:, None]
    found = judge(count(z, 2.0**-4, 2048), BINARY32, bias=bias.double().numpy())
    assert found.limit == "rarity"
    assert found.lattice.owner == "bias"
    assert found.lattice.by_channel == (2.0**-25, 2.0**-29, 2.0**-23)
    assert (found.lattice.n_agreeing, found.lattice.n_channels) == (3, 3)
    steps, density = np.array(found.lattice.by_channel), np.exp(-(bias.numpy() ** 2) / 2)
    rate = float((density / np.sqrt(2 * np.pi) * steps).mean())
    assert found.visible_from == pytest.approx(np.log(2) / rate, rel=0.1)
    other = judge(count(z, 2.0**-4, 2048), BINARY32, bias=np.array([3.0, 3.0, 3.0]))
    assert other.lattice.owner == "partial sums"


def test_a_bias_added_after_rounding_agrees_in_the_format_of_the_results():
    bias = torch.tensor([0.3, -0.7]).to(torch.bfloat16)
    z = continuous(1 << 15, 2, 1, torch.bfloat16) + bias[:, None]
    found = lattice_of(count(z, 2.0**-4, 2048), BFLOAT16, BINARY32, bias.double().numpy())
    assert (found.owner, found.bias_format, found.spacing) == ("bias", "bf16", 2.0**-9)


def test_a_lattice_without_zero_shows_by_values_that_repeat():
    bias = 0.3 + 0.003
    sums = continuous(1 << 17, 2, 2, torch.bfloat16).double()
    z = (torch.round(sums * 2**9) / 2**9 + bias).to(torch.bfloat16)
    found = lattice_of(count(z, 2.0**-4, 2048), BFLOAT16, BFLOAT16)
    assert found.distinct_p < 1e-6 < found.p
    assert found.owner == "partial sums"
    assert 2.0**-10 < found.spacing < 2.0**-8


def test_operands_that_are_coarse_own_the_lattice_in_any_arithmetic():
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(9, 4, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-99, 99, (4, 9), generator=generator) / 2**16)
        x = torch.randint(0, 17, (1 << 14, 9), generator=generator).double() / 16
        z = layer(x)
    tally = counted(layer, x, z, 2.0**-11, 1024, None)
    found = judge(tally, BINARY64)
    assert found.lattice.owner == "operands"
    assert found.lattice.spacing == 2.0**-20
    assert found.zeros.seen == found.zeros.in_shadow > 0


def test_replayed_data_are_no_new_data():
    generator = torch.Generator().manual_seed(4)
    layer = nn.Linear(8, 4)
    x = torch.randn(512, 8, generator=generator)
    tally = None
    with torch.no_grad():
        for _ in range(60):
            tally = counted(layer, x, layer(x), 2.0**-5, 1024, tally)
    found = judge(tally, BINARY32, bias=layer.bias.detach().double().numpy())
    assert found.n == 60 * 2048
    assert found.rarity.n_effective == 2048
    assert found.limit == "rarity"
    blind = judge(count(layer(x)[:, :, None].repeat(60, 1, 1), 2.0**-5, 1024), BINARY32)
    assert blind.rarity.p < 1e-3


def test_the_range_of_fp16_makes_as_many_zeros_as_it_should():
    z = (continuous(1 << 17, 1, 5, torch.float64) * 2.0**-15).to(torch.float16)
    found = judge(count(z, 2.0**-20, 1024), BINARY16)
    assert found.limit == "range"
    expected = (1 << 17) * 0.3989 * 2.0**-9
    assert abs(found.zeros.seen - expected) < 4 * expected**0.5
    assert abs(found.zeros.by_range - expected) < 0.2 * expected


def test_few_zeros_of_a_proven_lattice_are_not_taken_for_the_range():
    bias = torch.tensor([0.03]).half()
    seen = []
    for seed in range(8):
        z = continuous(1 << 17, 1, seed, torch.float16) + bias
        found = judge(count(z, 2.0**-4, 1024), BINARY16, bias=bias.double().numpy())
        assert found.limit in (("bias",) if found.zeros.seen else ("bias", "rarity"))
        seen.append(found.zeros.seen)
    assert 1 in seen


def test_says_so_when_too_few_values_are_near_zero():
    found = judge(count(torch.ones(100, 2, 1), 2.0**-4, 16), BINARY32)
    assert found.limit == "undecided"
    assert "only 0 values are near zero" in found.because
    empty = judge(count(torch.zeros(0, 2, 1), 2.0**-4, 16), BINARY32)
    assert empty.limit == "undecided"


def test_a_hole_at_zero_is_neither_lattice_nor_range():
    z = continuous(1 << 16, 1, 6, torch.float64)
    z = torch.where(z.abs() < 2.0**-7, z.sign() * 2.0**-7 + z, z)
    found = judge(count(z, 2.0**-4, 1024), BINARY64)
    assert found.limit == "undecided"
    assert "neither a lattice nor the range" in found.because
