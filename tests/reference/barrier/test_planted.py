"""A hundred planted cases of each limit; nothing but rarity in FP64."""

import collections

import pytest
import torch
from torch import nn

from deephochuli.analysis.barrier import barrier, count, judge
from deephochuli.analysis.barrier._count import near_threshold
from deephochuli.formats import BINARY64
from tests.reference.barrier.planted import KINDS, planted

N_CASES = 120


def limit(case):
    tally = count(case.z, near_threshold(case.z), 2048)
    return judge(tally, case.format, bias=case.bias).limit


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_planted_limits_are_found(kind):
    found = collections.Counter(limit(planted(kind, seed)) for seed in range(N_CASES))
    assert found[kind] >= 0.95 * N_CASES, found


@pytest.mark.slow
def test_nothing_but_rarity_is_found_in_fp64():
    found = collections.Counter(
        limit(planted("rarity", 500 + seed, BINARY64)) for seed in range(N_CASES)
    )
    assert found == {"rarity": N_CASES}


@pytest.mark.slow
@pytest.mark.parametrize("bias", [True, False])
def test_nothing_but_rarity_is_found_in_networks_in_fp64(bias):
    generator = torch.Generator().manual_seed(7)
    limits = collections.Counter()
    for seed in range(20):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(
                nn.Conv2d(2, 6, 3, bias=bias), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=bias)
            ).double()
        x = torch.rand(256, 2, 12, 12, generator=generator, dtype=torch.float64)
        result = barrier(model, [x], interventions=False)
        limits.update(result.verdicts().values())
    assert limits == {"rarity": 40}
