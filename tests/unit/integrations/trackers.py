"""A tracker that keeps what it is told, and a training that it can be told of."""

import torch
from torch import nn
from torch.nn import functional as F

import deephochuli as dh


class Kept:
    """Keeps all it is told; `fails` names a method that raises."""

    def __init__(self, fails=""):
        self.numbers, self.alerts, self.finished = [], [], []
        self.n_begun = 0
        self._fails = fails

    def _maybe_fail(self, name):
        if name == self._fails:
            raise OSError(f"no connection in {name}")

    def begin(self):
        self._maybe_fail("begin")
        self.n_begun += 1

    def log(self, numbers):
        self._maybe_fail("log")
        self.numbers += numbers

    def alert(self, alert):
        self._maybe_fail("alert")
        self.alerts.append(alert)

    def finish(self, run, found):
        self._maybe_fail("finish")
        self.finished.append((run.n_chunks, [finding.kind for finding in found]))


def model_and_optimizer(dtype=torch.float32, lr=0.1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).to(dtype)
    return model, torch.optim.SGD(model.parameters(), lr=lr)


def train(model, optimizer, n_steps, recording=None, bad_at=None, seed=1):
    """Train until the recording asks to stop; `bad_at` is a step whose input is infinite."""
    draw = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype
    for step in range(n_steps):
        x = torch.randn(16, 6, generator=draw).to(dtype)
        y = torch.randint(2, (16,), generator=draw)
        if step == bad_at:
            x[0, 0] = float("inf")
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if recording is not None:
            recording.log(loss=loss)
        loss.backward()
        optimizer.step()
        if recording is not None and recording.should_stop:
            return step + 1
    return n_steps


def record(folder, follow, n_steps, *, dtype=torch.float32, lr=0.1, **options):
    """Record one training; the steps that it made."""
    bad_at = options.pop("bad_at", None)
    model, optimizer = model_and_optimizer(dtype, lr)
    with dh.record(model, optimizer, to=folder, follow=follow, **options) as recording:
        return train(model, optimizer, n_steps, recording, bad_at)
