"""The power law of the smallest magnitude."""

import numpy as np
import pytest

from deephochuli.analysis.barrier import law_of
from deephochuli.analysis.barrier._judge import dispersion
from deephochuli.analysis.barrier._tally import Blocks


def blocks(minimum, size=1 << 17, near=None):
    n = len(minimum)
    near = np.full(n, 1000) if near is None else near
    return Blocks(np.full(n, size), near, np.asarray(minimum, np.float64))


def test_minima_of_rarity_fall_as_one_over_n():
    rng = np.random.default_rng(0)
    law = law_of(blocks(rng.exponential(1e-6, 4096)))
    assert law.exponent.holds(-1)
    assert law.exponent.high - law.exponent.low < 0.21
    assert law.scale[0] == pytest.approx(1e-6, rel=0.2)
    assert law.n[0] == 1 << 17
    used = sum(n * groups for n, groups in zip(law.n, law.n_groups, strict=True))
    assert 0.7 * 4096 < used / (1 << 17) <= 4096


def test_a_limit_that_does_not_depend_on_n_has_exponent_zero():
    law = law_of(blocks(np.full(1024, 2.0**-24)))
    assert abs(law.exponent.value) < 1e-9
    assert not law.exponent.holds(-1)


def test_no_larger_groups_are_formed_than_asked_for():
    rng = np.random.default_rng(2)
    law = law_of(blocks(rng.exponential(1e-6, 4096)), largest=2.0**20)
    assert law.n == (2.0**17, 2.0**18, 2.0**19, 2.0**20)
    assert law_of(blocks(rng.exponential(1e-6, 4096)), largest=1.0).n == (2.0**17, 2.0**18)


def test_every_block_is_in_one_group_only():
    law = law_of(blocks(np.arange(1.0, 65.0)))
    assert [round(n / (1 << 17)) for n in law.n] == [1 << k for k in range(len(law.n))]
    assert sum(groups << k for k, groups in enumerate(law.n_groups)) <= 64
    assert law.scale == tuple(sorted(law.scale))


def test_too_few_blocks_have_no_law():
    assert law_of(blocks(np.ones(7))) is None
    assert law_of(blocks(np.append(np.ones(7), np.inf))) is None


def test_counts_of_chance_are_not_spread_and_clusters_are():
    rng = np.random.default_rng(1)
    near = rng.poisson(1000, 400)
    assert dispersion(blocks(np.ones(400), near=near)) == 1.0
    assert dispersion(blocks(np.ones(400), near=9 * rng.poisson(1000, 400))) == pytest.approx(
        9, rel=0.2
    )
    assert dispersion(Blocks.none()) == 1.0
