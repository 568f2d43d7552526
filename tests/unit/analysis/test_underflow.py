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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_formats_with_room_are_not_reported(tmp_path, dtype):
    gradient = (torch.randn(50_000, generator=torch.Generator().manual_seed(0)) * 1e-9).to(dtype)
    run = write_run(tmp_path / "run", [[tap("conv", "g", gradient)]])
    assert findings(run) == []
