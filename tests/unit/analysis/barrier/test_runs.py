"""What a recorded run alone says."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

import deephochuli as dh


def recorded(path, model, data):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with dh.record(model, optimizer, to=path, every=1):
        for x in data:
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    return dh.open_run(path)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    data = [torch.randn(512, 16, generator=generator) for _ in range(3)]
    run = recorded(tmp_path_factory.mktemp("runs") / "new", model, data)
    replayed = recorded(tmp_path_factory.mktemp("runs") / "old", model, data[:1] * 60)
    z = torch.cat([model[0](x) for x in data]).detach()
    return dh.barrier_of_run(run), dh.barrier_of_run(replayed), z


def test_counts_and_cutoff_are_those_of_the_values(found):
    result, _, z = found
    (row,) = result.rows
    assert row.n == z.numel()
    assert row.cutoff == float(z.abs().min())
    near = int((z.abs() < 2.0**-5).sum())
    assert row.p0.value == pytest.approx(near / (2 * 2.0**-5 * z.numel()))
    assert row.predicted.value == pytest.approx(1 / (2 * z.numel() * row.p0.value))
    assert row.answer == "rarity is enough"
    assert not result.findings


def test_says_what_sketches_cannot_decide(found):
    result, replayed, _ = found
    assert "lattice is undecided" in result.undecided
    (row,) = replayed.rows
    assert row.answer == "rarity is rejected"
    (finding,) = replayed.findings
    assert (finding.kind, finding.level) == ("cutoff-not-rarity", "note")
    assert "trailing bits" in finding.advice
    json.dumps(asdict(result.sheet()), allow_nan=False)
    assert "rarity is enough" in str(result)
