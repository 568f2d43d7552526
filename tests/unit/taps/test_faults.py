"""Whatever goes wrong while looking, training goes on, and each fault is said once."""

import io
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deephochuli.errors import DeepHochuliWarning
from deephochuli.taps import QUANTITIES, Faults, Selection, attach

EVERYTHING = Selection(quantities=QUANTITIES)
EVENTS = ["is_recording", "forward_begins", "forward_ends", "before_update", "after_update", "see"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.tanh, self.relu = nn.Linear(4, 4), nn.Tanh(), nn.ReLU(inplace=True)

    def forward(self, x):
        return F.gelu(self.relu((self.tanh(self.linear(x)) - 0.1).flatten(0)))


class Faulty:
    """A sink whose every call raises, or one of them."""

    def __init__(self, event, error):
        self.event, self.error, self.n_raised = event, error, 0

    def __getattr__(self, event):
        def call(*args):
            if event == self.event:
                self.n_raised += 1
                raise self.error
            return True

        return call


def train(model, sink=None, n_steps=3):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    attachment = attach(model, optimizer, sink, EVERYTHING) if sink else None
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = model(torch.randn(3, 4)).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if attachment:
        attachment.detach()
    return losses, list(model.parameters()), attachment


def twins():
    torch.manual_seed(1)
    one, two = Net(), Net()
    two.load_state_dict(one.state_dict())
    return one, two


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), OSError("disk full")])
@pytest.mark.parametrize("event", EVENTS)
def test_a_sink_that_raises(event, error):
    bare, watched = twins()
    expected, weights, _ = train(bare)
    sink = Faulty(event, error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        losses, watched_weights, attachment = train(watched, sink)
    assert losses == expected
    assert all(map(torch.equal, weights, watched_weights))
    assert sink.n_raised == len(attachment.faults)  # each place is switched off by itself
    assert [w.category for w in caught] == [DeepHochuliWarning]  # one cause, said once
    assert sink.n_raised == (11 if event == "see" else 1)  # 3 places at the ReLU, 4 at two others
    assert type(error).__name__ in str(caught[0].message)


def test_each_cause_is_said_once():
    faults = Faults()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for what in ("one", "two"):
            for error in (ValueError("x"), ValueError("y"), OSError("x")):
                faults.report(f"{what} {error!r}", error)
                faults.report(f"{what} {error!r}", error)
    causes = [str(w.message).rpartition("Cause: ")[2] for w in caught]
    assert causes == ["ValueError: x", "ValueError: y", "OSError: x"]
    assert len(faults) == 6


def test_an_error_that_cannot_be_printed_and_a_closed_standard_error(monkeypatch):
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    with pytest.warns(DeepHochuliWarning, match="Hostile"):
        Faults().report("x", Hostile())
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Faults().report("x", ValueError())


def test_a_warning_filter_that_raises_does_not_stop_training(capsys):
    model = Net()
    with (
        warnings.catch_warnings(),
        attach(model, [], Faulty("see", ValueError("x")), Selection(quantities="z")),
    ):
        warnings.simplefilter("error")
        model(torch.randn(3, 4)).sum().backward()
    assert "tanh:z" in capsys.readouterr().err


def test_an_interrupt_in_the_sink_is_the_users():
    model = Net()
    with (
        pytest.raises(KeyboardInterrupt),
        attach(model, [], Faulty("see", KeyboardInterrupt())),
    ):
        model(torch.randn(3, 4))


def test_a_module_with_a_hostile_attribute_does_no_harm():
    class HostileReLU(nn.ReLU):
        @property
        def inplace(self):
            raise RuntimeError("no")

        @inplace.setter
        def inplace(self, value):
            pass

        def forward(self, x):
            return F.relu(x)

    model = nn.Sequential(nn.Linear(4, 4), HostileReLU())
    with attach(model, [], Faulty("", None)):
        with pytest.warns(DeepHochuliWarning, match=r"module '1'"):
            model(torch.randn(3, 4))
        assert model(torch.randn(3, 4)).shape == (3, 4)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_tensors_that_are_not_real_numbers_are_not_looked_at(watch, dtype):
    model = nn.Sequential(nn.Identity(), nn.PReLU())
    with watch(model, selection=Selection(outputs=True)) as seen:
        model[0](torch.zeros(3, dtype=dtype))
        F.relu(torch.zeros(3, dtype=torch.int64))
    assert not seen.seen
