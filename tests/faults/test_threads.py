"""Threads that are seen at the same time: every count arrives at its own place."""

import sys
import threading
import time

import pytest
import torch
from torch import nn

from deephochuli.kernels import backend_for
from deephochuli.record import _recorder, record
from deephochuli.store import open_run

N_THREADS = 8


@pytest.fixture
def quick_switches():
    """Let threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def layers():
    torch.manual_seed(0)
    widths = range(3, 3 + N_THREADS)
    return nn.ModuleList([nn.Sequential(nn.Linear(4, n), nn.ReLU(), nn.Tanh()) for n in widths])


def run_all(model, to, *, at_once):
    """Call every layer, forward and backward, in one thread each, or one after the other."""
    gate = threading.Barrier(N_THREADS if at_once else 1)

    def work(layer):
        gate.wait()
        layer(torch.ones(2, 4)).sum().backward()

    threads = [threading.Thread(target=work, args=(layer,)) for layer in model]
    with record(model, torch.optim.SGD(model.parameters(), 0.1), to=to) as recording:
        for thread in threads:
            thread.start()
            if not at_once:
                thread.join()
        for thread in threads:
            thread.join()
        recording._recorder.finish()
    run = open_run(to)
    return {
        (tap.layer, tap.quantity): (run.scalars(tap.layer, tap.quantity)["n"].tolist(), tap.dtype)
        for tap in run.taps()
    }


class SlowPlaces(dict):
    """A dictionary that lets another thread in between looking and writing."""

    def setdefault(self, key, default=None):
        time.sleep(1e-4)
        return super().setdefault(key, default)


@pytest.mark.usefixtures("quick_switches")
def test_places_of_different_threads_are_not_mixed_up(tmp_path, monkeypatch):
    expected = run_all(layers(), tmp_path / "one", at_once=False)
    assert len(expected) == 5 * N_THREADS  # z and dz of the ReLU, z, dz and a of the tanh
    assert run_all(layers(), tmp_path / "all", at_once=True) == expected

    def slowly(device):
        time.sleep(1e-2)
        return backend_for(device)

    monkeypatch.setattr(_recorder, "backend_for", slowly)
    assert run_all(layers(), tmp_path / "slow", at_once=True) == expected
    begin = _recorder.Recorder.__init__

    def slow_places(self, schedule):
        begin(self, schedule)
        self._indices = SlowPlaces()

    monkeypatch.setattr(_recorder.Recorder, "__init__", slow_places)
    assert run_all(layers(), tmp_path / "slower", at_once=True) == expected
