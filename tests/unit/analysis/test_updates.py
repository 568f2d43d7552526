"""Swamped updates: counts against tensors, and the forecast for other formats against real adds."""

import numpy as np
import pytest
import torch

from deephochuli.analysis import findings
from deephochuli.analysis.updates import stagnations, swamped_in
from deephochuli.kernels import UpdateJob, reference_backend
from runs import tap, write_run


def test_share_is_unmoved_over_updatable(tmp_path):
    dw = torch.zeros(100, dtype=torch.bfloat16)
    run = write_run(
        tmp_path / "run",
        [[tap("w", "dw", dw, updates=(80, 60))], [tap("w", "dw", dw, updates=(20, 20))]],
    )
    (found,) = stagnations(run)
    assert (found.updatable, found.unmoved) == (100, 80)
    assert (found.low_share, found.high_share) == (0.75, 1.0)


@pytest.mark.parametrize(("unmoved", "level"), [(10, None), (30, "warning"), (90, "critical")])
def test_level_follows_the_share_of_all_updates(tmp_path, unmoved, level):
    dw = torch.zeros(100, dtype=torch.bfloat16)
    run = write_run(tmp_path / "run", [[tap("w", "dw", dw, updates=(100, unmoved))]])
    found = [f for f in findings(run) if f.kind == "swamped-updates"]
    assert [f.level for f in found] == ([level] if level else [])


def test_one_small_parameter_is_only_a_note(tmp_path):
    dw = torch.zeros(10, dtype=torch.float32)
    rows = [tap("bias", "dw", dw, updates=(10, 9)), tap("weight", "dw", dw, updates=(1000, 0))]
    (found,) = findings(write_run(tmp_path / "run", [rows]))
    assert (found.level, found.layer) == ("note", "bias")


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(3))
def test_forecast_brackets_what_the_format_really_does(name, seed):
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, name)
    before = torch.randn(20000, generator=generator).to(dtype)
    before[:500] = 2.0 ** torch.randint(-3, 3, (500,), generator=generator)  # half-size gaps below
    step = torch.randn(20000, generator=generator) * before.float().abs()
    step = step * 2.0 ** torch.randint(-16, 0, (20000,), generator=generator)
    step = step.to(dtype)
    wide = (before.double() + step.double()).to(torch.float64)
    job = UpdateJob(before.double(), wide, torch.ones(20000, dtype=torch.float64))
    (summary,) = reference_backend().summarise_updates([job])
    really = int(((before.double() + step.double()).to(dtype) == before)[step != 0].sum())
    share = swamped_in(name, summary.ratios, summary.ratio_counts)
    assert share.low <= really <= share.high
    assert share.of == int((step != 0).sum())
    assert share.high - share.low < 0.15 * share.of


def test_forecast_needs_more_than_the_ratio_only_next_to_half_an_ulp():
    ratios, counts = np.array([-10, -9, -8, -7], np.int16), np.array([1, 10, 100, 1000])
    share = swamped_in("bf16", ratios, counts)
    assert (share.low, share.high, share.of) == (1, 111, 1111)
