"""Copies of optimizers behave like what they are copies of."""

import copy

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.analysis._copies import copy_of_optimizer


class Halved(torch.optim.SGD):
    """Takes a share of each step, which it keeps as an attribute of its own."""

    share = 1.0

    def step(self, closure=None):
        before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        super().step(closure)
        with torch.no_grad():
            for p, old in zip(self.param_groups[0]["params"], before, strict=True):
                p.copy_(old + self.share * (p - old))


def halved():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = Halved(model.parameters(), lr=0.5)
    optimizer.share = 0.25
    return model, optimizer


def test_attributes_of_its_own_are_copied():
    model, optimizer = halved()
    assert copy.deepcopy(optimizer).share == 1.0  # what torch does
    made = copy.deepcopy(model)
    memo = {id(p): q for p, q in zip(model.parameters(), made.parameters(), strict=True)}
    copied = copy_of_optimizer(optimizer, memo)
    assert copied.share == 0.25
    assert copied.param_groups[0]["params"][0] is made.weight


def test_what_a_scheduler_puts_into_it_stays_behind():
    model, optimizer = halved()
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    copied = copy_of_optimizer(optimizer, {})
    assert "step" in vars(optimizer)
    assert "step" not in vars(copied)
    before = model.weight.detach().clone()
    copied.step()
    assert torch.equal(model.weight, before)


def test_comparisons_step_as_the_optimizer_does():
    model, optimizer = halved()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    found = dh.compare(model, x, ["fp32"], loss=lambda y: y.square().sum(), optimizer=optimizer)
    [row] = [r for r in found.of("fp32", "update") if r.parameter == "weight"]
    model(x).square().sum().backward()
    expected = 0.5 * 0.25 * model.weight.grad.double().square().mean().sqrt()
    assert row.local.reference_rms == pytest.approx(float(expected), rel=1e-6)


def test_significance_steps_as_the_optimizer_does():
    model, optimizer = halved()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))

    def n_unmoved(share):
        optimizer.share = share
        found = dh.significance(model, x, loss=lambda y: y.square().sum(), optimizer=optimizer)
        return [(row.n_zero, row.n_elements) for row in found.layers if row.quantity == "dw"]

    assert n_unmoved(0.25) == [(0, 6), (0, 2)]
    assert n_unmoved(0.0) == [(6, 6), (2, 2)]
