"""Checkpointing, autocast, accumulation, scalers and friends give the same taps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deephochuli.taps import attach


class Checkpointed(nn.Module):
    """Two blocks and a shared ReLU, the blocks run under checkpoints of one kind."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.second = Block(), Block()
        self.relu = nn.ReLU()
        self.reentrant = reentrant

    def run(self, function, x):
        if self.reentrant is None:
            return function(x)
        return checkpoint(function, x, use_reentrant=self.reentrant)

    def twice(self, x):
        return self.relu(self.relu(x - 0.1) - 0.1)

    def forward(self, x):
        x = self.relu(self.run(self.first, x))
        x = self.run(self.twice, x)
        return self.relu(self.run(self.second, x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.relu = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        return F.gelu(self.b(self.relu(self.a(x))))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_gives_the_same_as_none(watch, reentrant):
    x = torch.randn(3, 4, requires_grad=True)
    seen_by_kind = []
    for kind in (None, reentrant):
        torch.manual_seed(0)
        model = Checkpointed(kind)
        with watch(model) as seen:
            model(x).sum().backward()
        seen_by_kind.append((dict(seen.seen), list(seen.events)))
        seen.forget()
    (plain, plain_events), (again, events) = seen_by_kind
    assert events == plain_events == ["train", "end"]
    assert {"relu:z", "relu#2:z", "relu#3:z", "relu#4:z", "first.gelu:dz"} <= set(plain)
    assert set(again) == set(plain)
    for name, tensors in plain.items():
        assert len(tensors) == len(again[name]) == 1, name
        assert torch.equal(tensors[0], again[name][0]), name


def test_a_whole_model_under_a_reentrant_checkpoint_is_training(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    x = torch.randn(3, 4, requires_grad=True)
    with watch(model) as seen:
        checkpoint(model, x, use_reentrant=True).sum().backward()
    assert seen.events == ["train", "end"]
    assert seen.counts("z", "dz") == {"1:z": 1, "1:dz": 1}


def test_autocast_shows_the_compute_dtype(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(torch.randn(3, 4)).float().sum()
        loss.backward()
        optimizer.step()
    assert seen.one("1:z").dtype == seen.one("1:dz").dtype == torch.bfloat16
    assert seen.one("0.weight:w").dtype == seen.one("0.weight:g").dtype == torch.float32


def test_gradient_accumulation_is_several_forwards_before_one_update(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        for _ in range(3):
            model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
    assert seen.events == ["train", "end"] * 3 + ["before", "after"]
    assert seen.counts("z", "dz", "g") == {"1:z": 3, "1:dz": 3, "0.weight:g": 1, "0.bias:g": 1}


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_update_is_noticed(watch, collector, fused):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    nn.init.constant_(model[0].bias, 3.0)  # so that every unit is active
    optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scales = []
    collector.update_skipped = lambda scaler, optimizer: (
        collector.events.append("skipped"),
        scales.append(collector.attachment.loss_scale(optimizer)),
    )
    with watch(model, optimizer) as seen:
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            scaler.scale((model(torch.ones(3, 4)) * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    step, ran = ["train", "end"], ["before", "after"]
    assert seen.events == [*step, *ran, *step, "skipped", *step, *ran]
    assert scales == [4.0]
    assert torch.isinf(seen.seen["1:dz"][1]).any()


def test_the_scale_in_the_gradients_is_known(watch, collector):
    for fused, expected in ((False, 1.0), (True, 4.0)):
        model = nn.Linear(4, 1, bias=False)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        with watch(model, optimizer) as seen:
            before = type(seen).before_update
            found = []

            def note(optimizer, before=before, seen=seen, found=found):
                attachment = seen.attachment
                found.append(
                    (attachment.gradient_scale(optimizer), attachment.loss_scale(optimizer))
                )
                before(seen, optimizer)

            collector.before_update = note
            scaler.scale(model(torch.ones(1, 4)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert found == [(expected, 4.0)]
        assert torch.equal(seen.one("weight:g"), torch.full((1, 4), expected))
        seen.forget()


def test_a_scaler_is_listened_to_until_the_last_one_leaves(watch, collector):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    with watch(model, optimizer) as seen:
        attach(model, optimizer, type(seen)()).detach()
        scaler.scale(model(torch.full((1, 4), float("inf"))).sum()).backward()
        scaler.step(optimizer)
    assert seen.events == ["train", "end", "skipped"]


def test_a_disabled_scaler_and_none_have_no_scale(watch):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with watch(model, optimizer) as seen:
        scaler.scale(model(torch.ones(1, 4)).sum()).backward()
        scaler.step(optimizer)
        assert seen.attachment.loss_scale(optimizer) is None
    assert seen.events == ["train", "end", "before", "after"]


def test_a_scaler_of_another_optimizer_is_none_of_our_business(watch):
    model, other = nn.Linear(4, 1), nn.Linear(4, 1)
    ours = torch.optim.SGD(model.parameters(), 0.1)
    theirs = torch.optim.SGD(other.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    with watch(model, ours) as seen:
        scaler.scale(other(torch.full((1, 4), float("inf"))).sum()).backward()
        scaler.step(theirs)
    assert seen.events == []


def test_a_learning_rate_scheduler_and_a_wrapped_optimizer_are_fine(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    with watch(model, Wrapper(optimizer)) as seen:
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
        scheduler.step()
    assert seen.events == ["train", "end", "before", "after"]


def test_an_input_that_requires_gradients_is_not_left_hooked(watch):
    model = nn.Sequential(nn.ReLU(), nn.Linear(4, 1))
    x = torch.randn(3, 4, requires_grad=True)
    with watch(model) as seen:
        for _ in range(3):
            model(x).sum().backward()
    assert seen.counts("z", "dz") == {"0:z": 3, "0:dz": 3}
    assert not x._backward_hooks


def test_a_frozen_layer_has_no_gradient_and_does_no_harm(watch):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer) as seen:
        model(torch.randn(3, 4)).sum().backward()
        optimizer.step()
    assert set(seen.counts("z", "dz", "g")) == {"1:z", "2.weight:g", "2.bias:g"}
