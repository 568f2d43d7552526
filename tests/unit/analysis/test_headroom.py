"""Room at the top of the range, and its robust trend."""

import itertools
import math

import numpy as np
import pytest
import torch

from deephochuli.analysis import findings
from deephochuli.analysis.headroom import headrooms, theil_sen
from runs import tap, write_run


def test_slope_is_the_median_over_all_pairs():
    generator = np.random.default_rng(3)
    x, y = np.arange(9.0), generator.normal(size=9)
    slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in itertools.combinations(range(9), 2)]
    assert theil_sen(x, y).slope == pytest.approx(np.median(slopes), rel=1e-15)


def test_interval_covers_the_true_slope():
    generator = np.random.default_rng(5)
    x = np.arange(30.0)
    hits = 0
    for _ in range(400):
        trend = theil_sen(x, 0.3 * x + generator.standard_t(3, size=30))
        hits += trend.low <= 0.3 <= trend.high
    assert 0.92 <= hits / 400 <= 0.985


def test_headroom_is_exact(tmp_path):
    run = write_run(tmp_path / "run", [[tap("relu", "z", torch.full((2, 2), 1023.5).half())]])
    (found,) = headrooms(run)
    assert found.least == pytest.approx(math.log2(65504 / 1023.5), abs=1e-12)


@pytest.mark.parametrize(("value", "level"), [(40000.0, "warning"), (20000.0, None)])
def test_less_than_one_binade_is_reported(tmp_path, value, level):
    run = write_run(tmp_path / "run", [[tap("relu", "z", torch.full((2, 2), value).half())]])
    assert [f.level for f in findings(run)] == ([level] if level else [])


def test_growth_is_forecast(tmp_path):
    steps = [[tap("relu", "z", torch.full((2, 2), 2.0 ** (5 + s / 4)).half())] for s in range(24)]
    run = write_run(tmp_path / "run", steps, chunk_steps=8)
    (found,) = findings(run)
    assert found.kind == "overflow-headroom"
    (forecast,) = [n for n in found.numbers if n.label == "forecast"]
    # headroom at the end: 16 - (5 + 23/4) = 5.25 binades, at 1/4 binade a step: 21 steps
    assert forecast.value == pytest.approx(21, abs=3)


def test_shrinking_values_are_not_forecast(tmp_path):
    steps = [[tap("relu", "z", torch.full((2, 2), 2.0 ** (13 - s / 4)).half())] for s in range(24)]
    assert findings(write_run(tmp_path / "run", steps, chunk_steps=8)) == []
