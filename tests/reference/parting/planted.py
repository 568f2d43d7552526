"""Trainings that are alike up to one known step, where one known thing is changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

import deephochuli as dh

SIZES = (8, 16, 12, 10, 4)
N_LAYERS = len(SIZES) - 1
N_STEPS = 24


class Dense(nn.Linear):
    """A dense layer that can be told to compute in bfloat16."""

    low = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.low:
            return linear(x, self.weight, self.bias)
        low = torch.bfloat16
        return linear(x.to(low), self.weight.to(low), self.bias.to(low)).to(x.dtype)


@dataclass
class Training:
    """What a plant may change."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    batches: torch.Generator

    def layer(self, index: int) -> Dense:
        return getattr(self.model, f"fc{index}")


Plant = Callable[[Training], None]


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential()
        for index in range(N_LAYERS):
            model.add_module(f"fc{index}", Dense(SIZES[index], SIZES[index + 1]))
            if index < N_LAYERS - 1:
                model.add_module(f"relu{index}", nn.ReLU())
        return model


def train(
    folder: Path, *, seed: int = 0, plant: Plant | None = None, at: int = 0, n_steps: int = N_STEPS
) -> Path:
    """Record a training; `plant` changes it before step `at`."""
    model = network(seed)
    layers = [each for each in model if isinstance(each, nn.Linear)]
    groups = [{"params": list(each.parameters()), "lr": 0.05} for each in layers]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    batches = torch.Generator().manual_seed(seed + 1)
    inputs = torch.randn(256, SIZES[0], generator=batches)
    targets = (inputs @ torch.randn(SIZES[0], SIZES[-1], generator=batches)).argmax(1)
    state = Training(model, optimizer, batches)
    with dh.record(model, optimizer, to=folder) as recording:
        for step in range(n_steps):
            if plant is not None and step == at:
                plant(state)
            chosen = torch.randint(0, 256, (32,), generator=batches)
            loss = cross_entropy(model(inputs[chosen]), targets[chosen])
            recording.log(loss=loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return folder


def one_weight(layer: int, row: int, column: int) -> Plant:
    """One weight moved by a thousandth."""

    def plant(training: Training) -> None:
        with torch.no_grad():
            training.layer(layer).weight[row, column] += 1e-3

    return plant


def rate(layer: int) -> Plant:
    """Twice the learning rate in one layer."""

    def plant(training: Training) -> None:
        training.optimizer.param_groups[layer]["lr"] *= 2

    return plant


def precision(layer: int) -> Plant:
    """One layer computed in bfloat16 from now on."""

    def plant(training: Training) -> None:
        training.layer(layer).low = True

    return plant


def reseed(training: Training) -> None:
    """Other batches from now on."""
    training.batches.manual_seed(999)
