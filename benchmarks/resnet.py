"""The training step that is measured: ResNet-18 layout at CIFAR size, SGD with momentum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

N_CLASSES = 10
N_BATCHES = 8


class Block(nn.Module):
    """Two 3x3 convolutions, batch norm, a shortcut, and ReLU in place, as torchvision has it."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the shortcut in place, then rectify in place."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu2(y)


def resnet18(width: int) -> nn.Module:
    """ResNet-18 with a 3x3 stem for 32x32 images; `width` is 64 in the paper."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    n_in = width
    for stage in range(4):
        n_out = width * 2**stage
        layers += [Block(n_in, n_out, 1 if stage == 0 else 2), Block(n_out, n_out, 1)]
        n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, N_CLASSES))


@dataclass
class Training:
    """A model, its optimizer, and batches that come round again."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: list[tuple[torch.Tensor, torch.Tensor]]
    n_steps: int = 0

    def step(self) -> None:
        """One training step, the same with and without a tool."""
        images, labels = self.batches[self.n_steps % len(self.batches)]
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        self.n_steps += 1

    def run(self, n_steps: int, after_step: Callable[[], None]) -> None:
        """Several steps; `after_step` is what a tool asks the user to add to the loop."""
        for _ in range(n_steps):
            self.step()
            after_step()


def make_training(width: int, batch: int, backend: str = "") -> Training:
    """The same start for every process: fixed seeds, normal images, random labels.

    With a `backend` the model is compiled by it, when the first step comes.
    """
    torch.manual_seed(0)
    model = resnet18(width)
    if backend:
        model.compile(backend=backend)  # in place: contenders and loop hold the same module
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    draw = torch.Generator().manual_seed(1)
    batches = [
        (
            torch.randn(batch, 3, 32, 32, generator=draw),
            torch.randint(N_CLASSES, (batch,), generator=draw),
        )
        for _ in range(N_BATCHES)
    ]
    return Training(model, optimizer, batches)
