"""Steps that a device counts are handed over later, whole and in order.

The kernels of a GPU run here under Triton's interpreter.
"""

import pytest
import torch
from torch import nn

import deephochuli as dh
from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels import RowsOfDevice, begin_number
from tests.unit.kernels.conftest import interpreted_backend
from tests.unit.record.several import rows

# NumPy stands for the GPU: it complains of NaNs, and of what Triton 3.6 asks of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning"),
]


@pytest.fixture
def device(monkeypatch):
    """Have a back end for GPUs count what lies on this CPU."""
    backend = interpreted_backend()
    assert isinstance(backend.rows(), RowsOfDevice)

    def counted_there():
        monkeypatch.setattr("deephochuli.record._recorder.backend_for", lambda _: backend)
        return backend

    return counted_there


class Listener:
    """Notes when steps are handed over."""

    def __init__(self):
        self.steps = []

    def begin(self, recording):
        pass

    def step(self, step, taps):
        self.steps.append(step.step)

    def chunk(self):
        pass

    def end(self):
        pass


def train(to, n_steps=5, after=lambda recording, step, listener: None, every=1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    listener = Listener()
    with dh.record(model, optimizer, to=to, every=every, follow=listener) as recording:
        for step in range(n_steps):
            x = torch.randn(6 + step, 3, generator=torch.Generator().manual_seed(step))
            loss = model(x).square().mean()
            loss.backward()
            recording.log(loss=loss)
            optimizer.step()
            optimizer.zero_grad()
            after(recording, step, listener)
    return dh.open_run(to), listener.steps


def counted(run):
    """Everything that a run says of each tap in each step, and its sums apart."""
    found = rows(run)
    sums = {
        (*place, name): float(row.pop(name).removeprefix("np.float64(").removesuffix(")"))
        for place, row in found.items()
        for name in ("sum", "sum_sq")
    }
    return found, sums


def test_what_a_device_counts_is_what_a_cpu_counts(tmp_path, device):
    plain, steps = train(tmp_path / "cpu")
    device()
    found, later = train(tmp_path / "device")
    assert steps == later == list(range(5))
    assert found.steps["loss"].tolist() == plain.steps["loss"].tolist()
    (ours, sums), (theirs, expected) = counted(found), counted(plain)
    assert ours == theirs
    assert sums == pytest.approx(expected, rel=1e-12)


def test_a_step_is_handed_over_when_the_next_one_ends(tmp_path, device):
    device()
    seen = []
    train(tmp_path / "run", after=lambda recording, step, listener: seen.append(listener.steps[:]))
    assert seen == [[], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


def test_that_is_the_next_step_whether_it_is_counted_or_not(tmp_path, device):
    device()
    seen = []

    def note(recording, step, listener):
        seen.append(listener.steps[:])

    train(tmp_path / "run", after=note, every=3)
    assert seen == [[], [0], [0], [0], [0, 3]]


def test_a_flush_waits_for_the_device(tmp_path, device):
    device()
    seen = []

    def flush(recording, step, listener):
        recording.flush()
        seen.append(listener.steps[:])

    train(tmp_path / "run", n_steps=2, after=flush)
    assert seen == [[0], [0, 1]]


def test_a_step_that_cannot_be_read_does_not_leak_into_the_next_one(tmp_path, device, monkeypatch):
    plain, _ = train(tmp_path / "cpu")
    backend = device()
    kind = type(backend.rows())
    whole, calls = kind.begin_read, []

    def fails_once(self):
        calls.append(self)
        if len(calls) == 2:
            raise RuntimeError("the device is away")
        return whole(self)

    monkeypatch.setattr(kind, "begin_read", fails_once)
    with pytest.warns(DeepHochuliWarning, match="step 1"):
        found, steps = train(tmp_path / "device")
    assert steps == [0, 2, 3, 4]
    expected, _ = counted(plain)
    ours, _ = counted(found)
    assert ours == {place: row for place, row in expected.items() if place[2] != 1}


def test_a_number_of_a_device_is_what_it_was_when_it_was_noted():
    loss = torch.tensor(1.5, requires_grad=True)
    noted = begin_number(loss)
    with torch.no_grad():
        loss.fill_(7.0)
    assert noted.get() == 1.5
