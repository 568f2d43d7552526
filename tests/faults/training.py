"""A small training that passes every part of a recording, and what it must come out as."""

import functools
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack

import deephochuli.record._record
from deephochuli.errors import DeepHochuliWarning
from deephochuli.record import Recording, record
from deephochuli.store import RunWriter
from deephochuli.taps import QUANTITIES, Selection

EVERYTHING = Selection(quantities=QUANTITIES, outputs=True)
N_STEPS = 6
CHUNK_STEPS = 2


class Net(nn.Module):
    """Activations as modules, as functions and in place, a view, a frozen weight, a dict out."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)
        self.relu, self.frozen = nn.ReLU(inplace=True), nn.Linear(4, 4).requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.relu(self.norm(self.one(x)))
        return {"logits": self.frozen(F.gelu(self.two(x))), "hidden": x}


@dataclass
class Trained:
    """What came out of a training."""

    losses: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    path: Path | None = None
    n_steps: int = 0

    def is_same(self, other: "Trained") -> bool:
        return (
            bits(torch.tensor(self.losses)) == bits(torch.tensor(other.losses))
            and self.weights.keys() == other.weights.keys()
            and all(bits(w) == bits(other.weights[name]) for name, w in self.weights.items())
        )


def bits(tensor: Tensor) -> bytes:
    """The bits of a tensor, so that NaN is equal to itself and -0 is not 0."""
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def mostly_slow(cases, every: int = 10):
    """Cases of which one in ten runs every day, and all with the slow tests."""
    return [
        case if n % every == 0 else pytest.param(case, marks=pytest.mark.slow)
        for n, case in enumerate(cases)
    ]


def parts() -> tuple[nn.Module, torch.optim.Optimizer, torch.amp.GradScaler]:
    torch.manual_seed(0)
    model = Net()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1, momentum=0.9)
    return model, optimizer, torch.amp.GradScaler("cpu", init_scale=2.0**8)


Between = Callable[[int, nn.Module, torch.optim.Optimizer], object]


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    between: Between,
    recording: Recording | None = None,
    n_steps: int = N_STEPS,
) -> list[float]:
    """The user's loop; the gradients of step 3 are infinite, so that its update is skipped."""
    losses = []
    for i in range(n_steps):
        between(i, model, optimizer)
        loss = model(torch.randn(5, 6, generator=torch.Generator().manual_seed(i)))["logits"]
        loss = loss.square().sum() * (float("inf") if i == 3 else 1.0)
        if recording is not None:
            recording.log(loss=loss)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


def nothing(_step: int, _model: nn.Module, _optimizer: torch.optim.Optimizer) -> None:
    """What usually happens between two steps."""


@functools.cache
def undisturbed(between: Between = nothing) -> Trained:
    """The training without a recording."""
    model, optimizer, scaler = parts()
    losses = loop(model, optimizer, scaler, between)
    return Trained(losses, model.state_dict())


@contextmanager
def small_chunks():
    """Have the recording write to disk every two steps."""
    module = deephochuli.record._record
    kept = module.RunWriter
    module.RunWriter = functools.partial(RunWriter, chunk_steps=CHUNK_STEPS)
    try:
        yield
    finally:
        module.RunWriter = kept


def recorded(to: Path, between: Between = nothing, faults=None, **options) -> Trained:
    """The training with a recording, and with whatever `faults` breaks once it has begun."""
    model, optimizer, scaler = parts()
    trained = Trained(path=to)
    with warnings.catch_warnings(record=True) as caught, small_chunks():
        warnings.simplefilter("always")
        recording = record(
            model, optimizer, to=to, **({"every": 1, "select": EVERYTHING} | options)
        )
        with recording:
            if faults is not None:
                faults.begin()
            trained.losses = loop(model, optimizer, scaler, between, recording)
        if faults is not None:
            faults.end()
    trained.n_steps = recording.n_steps
    trained.weights = model.state_dict()
    trained.said = [str(w.message) for w in caught if w.category is DeepHochuliWarning]
    foreign = [w for w in caught if w.category is not DeepHochuliWarning]
    assert not foreign, [str(w.message) for w in foreign]
    assert_nothing_is_left(optimizer)
    return trained


def assert_nothing_is_left(optimizer: torch.optim.Optimizer) -> None:
    """No hook, no mode and no patched class outlives a recording, whatever happened to it."""
    from torch.nn.modules import module

    assert not module._global_forward_pre_hooks
    assert not module._global_forward_hooks
    assert not _get_current_function_mode_stack()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert torch.amp.GradScaler.step.__module__ == "torch.amp.grad_scaler"
