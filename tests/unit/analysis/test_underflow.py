"""Gradient underflow: the bounds must contain what casting really lost."""

import pytest
import torch

from deephochuli.analysis import findings
from deephochuli.analysis.underflow import limiting_scale, underflows
from deephochuli.formats import get_format
from runs import tap, write_run


@pytest.mark.parametrize("scale", [1e-5, 1e-6, 1e-7, 3e-8])
@pytest.mark.parametrize("kind", ["normal", "laplace", "student"])
def test_bounds_contain_the_truth(tmp_path, scale, kind):
    generator = torch.Generator().manual_seed(7)
    true = torch.randn(200_000, generator=generator, dtype=torch.float64)
    if kind == "laplace":
        true = true.sign() * -torch.rand(200_000, generator=generator, dtype=torch.float64).log()
    if kind == "student":
        true = true / torch.randn(200_000, generator=generator, dtype=torch.float64).abs()
    true[::3] = 0.0  # closed ReLUs
    true *= scale
    stored = true.to(torch.float16)
    stored[stored.isinf()] = 0.5
    flushed = int(((stored == 0) & (true != 0)).sum())
    (found,) = underflows(write_run(tmp_path / "run", [[tap("conv", "g", stored)]]))
    assert found.flushed_low <= flushed * 1.05 + 30  # an estimate of a count, give or take sqrt(n)
    assert flushed <= found.flushed_high
    assert found.flushed_low > 0.2 * flushed


def test_underflow_is_reported_with_the_scale_that_helps(tmp_path):
    gradient = (torch.randn(50_000, generator=torch.Generator().manual_seed(0)) * 1e-6).half()
    run = write_run(tmp_path / "run", [[tap("conv", "dz", gradient)]])
    (found,) = findings(run)
    assert (found.kind, found.level, found.layer) == ("gradient-underflow", "critical", "conv")
    scale, limiting = limiting_scale(run, get_format("fp16"))
    assert limiting == "conv:dz"
    scaled = gradient.double() * scale
    assert 65504 / 32 <= scaled.abs().max() <= 65504 / 16
    assert f"2.0**{int(torch.tensor(scale).log2())}" in found.code


def true_gradients():
    return torch.randn(20_000, generator=torch.Generator().manual_seed(0)).double() * 1e-6


def test_the_scale_that_helps_does_not_depend_on_the_one_that_the_run_had(tmp_path):
    """The scale of each step is divided out of dz; g came without it."""
    true = true_gradients()
    used = [None, 2.0, 2.0**5]
    steps = [
        [tap("conv", "dz", (true * (scale or 1.0)).half()), tap("conv", "g", true.float() / 64)]
        for scale in used
    ]
    run = write_run(tmp_path / "run", steps, loss_scales=used)
    scale, limiting = limiting_scale(run, get_format("fp16"))
    assert limiting == "conv:dz"
    assert 65504 / 32 <= (true * scale).abs().max() <= 65504 / 16
    (found,) = findings(run)
    assert f"2.0**{int(torch.tensor(scale).log2())}" in found.code


def test_a_run_that_had_all_the_scale_there_is_is_not_told_to_scale(tmp_path):
    true = true_gradients()
    true[0] = 1.0  # one large gradient leaves no room
    run = write_run(
        tmp_path / "run", [[tap("conv", "dz", (true * 2.0**12).half())]], loss_scales=[2.0**12]
    )
    assert limiting_scale(run, get_format("fp16"))[0] == 2.0**11
    (found,) = [each for each in findings(run) if each.kind == "gradient-underflow"]
    assert "scaled by up to 4096 already" in found.advice
    assert "allow a scale of 2.0**11" in found.advice
    assert not found.code


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_formats_with_room_are_not_reported(tmp_path, dtype):
    gradient = (torch.randn(50_000, generator=torch.Generator().manual_seed(0)) * 1e-9).to(dtype)
    run = write_run(tmp_path / "run", [[tap("conv", "g", gradient)]])
    assert findings(run) == []
