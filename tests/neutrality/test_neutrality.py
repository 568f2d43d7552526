"""Watching changes nothing: not a bit of a loss, a weight, a state or a random generator."""

import functools
import os
import warnings

import pytest
import torch

import deephochuli.record
from deephochuli.taps import QUANTITIES, Selection, attach
from tests.neutrality.compiled import COMPILED, has_compiler
from tests.neutrality.harness import fingerprint, not_recorded
from tests.neutrality.layers import LAYERS, SLOW_LAYERS
from tests.neutrality.models import TRAININGS as MODELS
from tests.neutrality.ways import WAYS

N_STEPS_FAST = 3
N_STEPS = int(os.environ.get("NEUTRALITY_STEPS", "100"))
FAST = MODELS | {build.__name__: build for build in (*LAYERS, *WAYS)}
TRAININGS = FAST | {build.__name__: build for build in SLOW_LAYERS} | COMPILED
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
            gradient = tap.parameter.grad
            if tap.g is not None and gradient is not None:
                self.see(tap.g, gradient.to_dense())

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


def _record(model, optimizers, folder, every=1):
    return deephochuli.record.record(
        model, optimizers, to=folder / "run", every=every, select=EVERYTHING
    )


@functools.cache
def bare(name, n_steps):
    return fingerprint(TRAININGS[name], n_steps, not_recorded)


def test_there_are_enough_trainings():
    assert len(TRAININGS) >= 60
    assert "ten_thousand_modules" in TRAININGS
    assert N_STEPS >= 100


@pytest.mark.parametrize("name", FAST)
def test_watching_everything_changes_nothing(name, watched):
    assert fingerprint(FAST[name], N_STEPS_FAST, watched) == bare(name, N_STEPS_FAST)


@pytest.mark.parametrize("name", FAST)
def test_recording_changes_nothing(name, recorded):
    assert fingerprint(FAST[name], N_STEPS_FAST, recorded) == bare(name, N_STEPS_FAST)


@pytest.fixture
def compilable(name):
    """Skip what needs a compiler where there is none; expect to hear what cannot be seen."""
    if name.endswith("inductor") and not has_compiler():
        pytest.skip("no C++ compiler, which the inductor back end needs")
    with warnings.catch_warnings():
        if name in COMPILED:
            warnings.simplefilter("ignore")  # torch's own compiler warns of deprecated names
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("compilable")
@pytest.mark.parametrize("name", TRAININGS)
def test_watching_everything_for_long_changes_nothing(name, watched):
    assert fingerprint(TRAININGS[name], N_STEPS, watched) == bare(name, N_STEPS)


@pytest.mark.slow
@pytest.mark.usefixtures("compilable")
@pytest.mark.parametrize("name", TRAININGS)
def test_recording_for_long_changes_nothing(name, recorded):
    assert fingerprint(TRAININGS[name], N_STEPS, recorded) == bare(name, N_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain_cnn", "gpt2", "grad_scaler", "two_optimizers"])
@pytest.mark.parametrize("every", [7, "log", "3:20,50:60:2"])
def test_recording_now_and_then_changes_nothing(name, every, tmp_path):
    recorded = functools.partial(_record, folder=tmp_path, every=every)
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
