"""Questions to tensors and models that lie on a GPU: the answers are those of a CPU."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import deephochuli as dh
from tests.cuda.device import DEVICE, drawn

pytestmark = pytest.mark.cuda


def lattice(*shape, seed=0):
    """Small multiples of 1/8: sums and products of few of them are exact in any order."""
    return (drawn(*shape, seed=seed, device="cpu") * 8).round().clamp(-16, 16) / 8


def model():
    """Numbers of few bits, so that a GPU computes what a CPU does, to the bit."""
    net = nn.Sequential(
        *(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 4)),
    )
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter.copy_(lattice(*parameter.shape, seed=number).clamp(-0.5, 0.5))
    return net


@pytest.fixture
def both():
    here, x = model(), lattice(6, 2, 8, 8, seed=99)
    return (copy.deepcopy(here).to(DEVICE), x.to(DEVICE)), (here, x)


def total(out, *_):
    return out.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_sketches(dtype):
    x = torch.cat([drawn(5000, device="cpu") * 2.0**k for k in (-140, -20, 0, 14)]).to(dtype)
    ours, theirs = dh.Sketch.of(x.to(DEVICE)), dh.Sketch.of(x)
    assert np.array_equal(ours.keys, theirs.keys)
    assert np.array_equal(ours.counts, theirs.counts)
    assert ours.ask("fp8_e4m3fn", scale=8.0).to_zero == theirs.ask("fp8_e4m3fn", scale=8.0).to_zero
    strided = dh.Sketch.of(x.to(DEVICE).reshape(40, -1).T[::2])
    assert np.array_equal(strided.counts, dh.Sketch.of(x.reshape(40, -1).T[::2]).counts)


def test_swamping(both):
    ours, theirs = (
        dh.swamping(*each, loss=total, format="fp16", n_outputs=32).rows for each in both
    )
    keys = [(row.layer, row.sum, row.order, row.n_addends) for row in ours]
    assert keys == [(row.layer, row.sum, row.order, row.n_addends) for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.absorbed == other.absorbed, one
        assert one.lost_mass.value == pytest.approx(other.lost_mass.value, rel=1e-12)


def test_kinks(both):
    ours, theirs = (dh.kink(*each, total) for each in both)
    assert [row.causes for row in ours.zeros] == [row.causes for row in theirs.zeros]
    assert [(row.layer, row.n_tied) for row in ours.pools] == [("2", theirs.pools[0].n_tied)]
    assert ours.runs[0].changed == theirs.runs[0].changed


def test_pieces():
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=number, device="cpu"))
    x0, x1 = (drawn(3, seed=seed, device="cpu") for seed in (7, 8))
    there = copy.deepcopy(net).to(DEVICE)
    ours = dh.pieces.count(there, x0.to(DEVICE), x1.to(DEVICE))
    theirs = dh.pieces.count(net, x0, x1)
    assert (ours.regions, ours.pieces) == (theirs.regions, theirs.pieces)
    assert ours.regions.low > 1


def test_barrier(both):
    ours, theirs = (dh.barrier(*each) for each in both)
    assert [(row.layer, row.limit) for row in ours.rows] == [
        (row.layer, row.limit) for row in theirs.rows
    ]


def test_death_and_dead_units(both):
    ours, theirs = (dh.death(*each) for each in both)
    assert str(ours) == str(theirs)


def test_what_formats_lose_of_gradients(both):
    ours, theirs = (dh.backward(*each, ["fp32", "fp16"], loss=total) for each in both)
    assert [row.layer for row in ours.rows] == [row.layer for row in theirs.rows]


def test_rounding_bias_watches_a_training(both):
    """It may draw from a generator of its own, never from that of the training."""

    def trained(bias):
        torch.manual_seed(0)
        net, x = copy.deepcopy(both[0][0]), both[0][1]
        net.insert(3, nn.Dropout(0.2))
        optimizer = torch.optim.SGD(net.parameters(), 2.0**-6)

        def train():
            for _ in range(6):
                optimizer.zero_grad()
                net(x).square().mean().backward()
                optimizer.step()

        if bias:
            with dh.RoundingBias(net, optimizer, every=2):
                train()
        else:
            train()
        return [p.detach().cpu() for p in net.parameters()]

    assert all(map(torch.equal, trained(True), trained(False)))
