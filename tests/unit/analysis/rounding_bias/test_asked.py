"""Asking before a training: the same alarm as watching that training, and nothing is touched."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli import CompareError, RoundingBias
from deephochuli.analysis.rounding_bias import rounding_bias
from deephochuli.errors import TapError


@pytest.fixture
def made():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dice = torch.Generator().manual_seed(1)
    data = [
        (torch.rand(16, 8, generator=dice), torch.randint(0, 3, (16,), generator=dice))
        for _ in range(3)
    ]
    return model, optimizer, data


def test_it_says_what_watching_the_same_training_says(made):
    model, optimizer, data = made
    asked = rounding_bias(model, data, optimizer=optimizer, loss=F.cross_entropy, n_steps=9)
    with RoundingBias(model, optimizer) as bias:
        for step in range(9):
            x, y = data[step % 3]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert asked.rows == bias.result().rows
    assert {row.format for row in asked.rows} == {"fp32"}


def test_in_an_arithmetic_weights_are_followed_in_its_format(made):
    model, _, data = made
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    asked = rounding_bias(
        model, data, "bf16-pure", optimizer=optimizer, loss=F.cross_entropy, n_steps=60
    )
    assert {row.format for row in asked.rows} == {"bf16"}
    assert any("rounded where their errors went" in each.title for each in asked.findings)


def test_model_optimizer_and_dice_stay_as_they_were(made):
    model, optimizer, data = made
    before = [p.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    rounding_bias(model, data, optimizer=optimizer, loss=F.cross_entropy, n_steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not optimizer.state
    assert torch.equal(state, torch.get_rng_state())


def test_wrong_use_is_said(made):
    model, optimizer, data = made
    with pytest.raises(CompareError, match=r"n_steps=1\): expected 2 or more"):
        rounding_bias(model, data, optimizer=optimizer, n_steps=1)
    with pytest.raises(TapError, match="holds no parameter of the model"):
        rounding_bias(nn.Linear(2, 2), data, optimizer=optimizer)
