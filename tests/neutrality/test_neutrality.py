"""Watching changes nothing: not a bit of a loss, a weight, a state or a random generator."""

import functools

import pytest
import torch

import deephochuli.record
from deephochuli.taps import QUANTITIES, Selection, attach
from tests.neutrality.harness import fingerprint, not_recorded
from tests.neutrality.models import TRAININGS

N_STEPS_FAST, N_STEPS = 3, 100
EVERYTHING = Selection(quantities=QUANTITIES, outputs=True)


class ReadsAll:
    """A sink that reads every element of everything it can be shown."""

    def __init__(self):
        self.n_read = 0
        self.is_training = False
        self.attachment = None

    def is_recording(self):
        return self.is_training  # in an evaluation, torch has fused layers that looking would undo

    def see(self, place, tensor):
        self.n_read += int((tensor == 0).sum()) + tensor.numel()

    def forward_begins(self, is_training):
        self.is_training = is_training

    def forward_ends(self):
        pass

    def before_update(self, optimizer):
        for tap in self.attachment.parameters(optimizer):
            self.see(tap.w, tap.parameter)
            if tap.g is not None and tap.parameter.grad is not None:
                self.see(tap.g, tap.parameter.grad)

    def after_update(self, optimizer):
        for tap in self.attachment.parameters(optimizer):
            self.see(tap.w, tap.parameter)
            for place, tensor in tap.state:
                self.see(place, tensor)

    def update_skipped(self, scaler, optimizer):
        self.before_update(optimizer)


@pytest.fixture
def watched():
    """Show everything there is to a sink that reads it all; an instrument must see something."""
    sinks = []

    def watching(model, optimizers):
        sinks.append(ReadsAll())
        sinks[0].attachment = attach(model, optimizers, sinks[0], EVERYTHING)
        return sinks[0].attachment

    yield watching
    assert len(sinks[0].attachment.faults) == 0
    assert sinks[0].n_read > 1000


@pytest.fixture
def recorded(tmp_path):
    """Record everything in every step to a folder."""
    return functools.partial(_record, folder=tmp_path)


def _record(model, optimizers, folder):
    return deephochuli.record.record(
        model, optimizers, to=folder / "run", every=1, select=EVERYTHING
    )


@functools.cache
def bare(name, n_steps):
    return fingerprint(TRAININGS[name], n_steps, not_recorded)


@pytest.mark.parametrize("name", TRAININGS)
def test_watching_everything_changes_nothing(name, watched):
    assert fingerprint(TRAININGS[name], N_STEPS_FAST, watched) == bare(name, N_STEPS_FAST)


@pytest.mark.parametrize("name", TRAININGS)
def test_recording_changes_nothing(name, recorded):
    assert fingerprint(TRAININGS[name], N_STEPS_FAST, recorded) == bare(name, N_STEPS_FAST)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_watching_everything_for_long_changes_nothing(name, watched):
    assert fingerprint(TRAININGS[name], N_STEPS, watched) == bare(name, N_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_recording_for_long_changes_nothing(name, recorded):
    assert fingerprint(TRAININGS[name], N_STEPS, recorded) == bare(name, N_STEPS)


class Meddles(ReadsAll):
    """A sink that does one thing that no instrument may do."""

    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def see(self, place, tensor):
        if self.deed == "draws a number":
            torch.rand(1)
        elif self.deed == "changes one bit" and place.quantity == "z":
            tensor.view(torch.int32).reshape(-1)[0] ^= 1
        elif self.deed == "scales a gradient" and place.quantity == "dz":
            tensor.mul_(1 + 2**-23)


@pytest.mark.parametrize("deed", ["draws a number", "changes one bit", "scales a gradient"])
def test_the_harness_notices(deed):
    def meddled(model, optimizers):
        sink = Meddles(deed)
        sink.attachment = attach(model, optimizers, sink, EVERYTHING)
        return sink.attachment

    assert fingerprint(TRAININGS["plain_cnn"], 1, meddled) != bare("plain_cnn", 1)


def test_the_harness_is_deterministic_and_sees_the_seed():
    training = TRAININGS["batch_norm_dropout"]
    assert fingerprint(training, 2, not_recorded) == bare("batch_norm_dropout", 2)
    assert fingerprint(training, 3, not_recorded) != bare("batch_norm_dropout", 2)
