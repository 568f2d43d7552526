"""What became of single elements, against cases written down by hand and exact rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from deephochuli.analysis.backward import Fate
from deephochuli.analysis.backward._fate import fate_of, would_move
from deephochuli.formats import get_format, round_scalar

FP16 = get_format("fp16")
TINY = 2.0**-25  # the largest magnitude that FP16 rounds to zero


def counts(judged, computed, exact, rerun=None):
    rerun = exact if rerun is None else rerun
    numbers = (torch.tensor([x], dtype=torch.float64) for x in (judged, computed, exact, rerun))
    return fate_of(*numbers, FP16)


def test_every_kind_of_loss_has_its_own_count():
    assert counts(0.0, TINY, 1e-9) == Fate(n=1, n_nonzero=1, lost=1, rounded=1)
    above = np.nextafter(TINY, 1)
    assert counts(0.0, above, 1e-9) == Fate(n=1, n_nonzero=1, lost=1, inside=1)
    before = counts(0.0, 0.0, 1e-9)
    assert before == Fate(n=1, n_nonzero=1, lost=1)
    assert before.inherited == 1
    silent = counts(0.0, 0.0, 1e-9, rerun=0.0)  # the forward came out otherwise
    assert silent == Fate(n=1, n_nonzero=1, lost=1, decided=1)
    assert silent.vanished == silent.inherited == 0
    assert counts(0.0, 1e-9, 0.0) == Fate(n=1)  # exact arithmetic says zero, too
    assert counts(2.0**-20, 2.0**-20, 1e-6) == Fate(n=1, n_nonzero=1, subnormal=1)
    assert counts(2.0**-14, 2.0**-14, 1e-4) == Fate(n=1, n_nonzero=1)
    assert counts(float("inf"), 7e4, 7e4) == Fate(n=1, n_nonzero=1, nonfinite=1)


def test_counts_add_up():
    total = counts(0.0, TINY, 1e-9) + counts(2.0**-20, 2.0**-20, 1e-6)
    assert total == Fate(n=2, n_nonzero=2, lost=1, rounded=1, subnormal=1)
    assert total.vanished_share == 0.5
    assert Fate().vanished_share == 0


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32", "fp64"])
def test_a_step_moves_a_weight_exactly_where_it_is_not_absorbed(name):
    fmt = get_format(name)
    rng = np.random.default_rng(7)
    weights = [round_scalar(w, fmt) for w in (*rng.standard_normal(60), 1.0, -1.0, 0.5, 1.5)]
    ratios = 2.0 ** (-fmt.precision + rng.integers(-2, 3, len(weights)))
    steps = [w * ratio * sign for w, ratio in zip(weights, ratios, strict=True) for sign in (1, -1)]
    twice = [w for w in weights for _ in range(2)]
    moved = would_move(torch.tensor(twice).double(), torch.tensor(steps).double(), fmt)
    right = [
        not fmt.absorbs(Fraction(w), Fraction(step)) for w, step in zip(twice, steps, strict=True)
    ]
    assert moved.tolist() == right
    assert 10 < sum(right) < len(right) - 10


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32"])
def test_a_step_on_the_tie_moves_odd_significands_only(name):
    fmt = get_format(name)
    rng = np.random.default_rng(8)
    weights = [round_scalar(w, fmt) for w in rng.standard_normal(40)]
    limits = [fmt.absorption_threshold(w, "away") for w in weights]
    steps = [math.copysign(float(t.value), w) for w, t in zip(weights, limits, strict=True)]
    moved = would_move(torch.tensor(weights).double(), torch.tensor(steps).double(), fmt)
    assert moved.tolist() == [not limit.inclusive for limit in limits]
    assert 10 < sum(moved.tolist()) < 30
