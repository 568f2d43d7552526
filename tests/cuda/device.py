"""The device of these tests, and small models that train on it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEVICE = "cuda"


class Block(nn.Module):
    """An encoder block between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x)).mean(1))


def convolutional(p: float = 0.0) -> nn.Module:
    """Convolutions, batch norm, an in-place and a smooth activation, dropout."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.GELU(), nn.Dropout(p)),
        *(nn.Flatten(), nn.Linear(72, 10)),
    ).to(DEVICE)


def transformer() -> nn.Module:
    """A transformer with dropout."""
    torch.manual_seed(0)
    return Block().to(DEVICE)


def perceptron(width: int = 64) -> nn.Module:
    """Linear layers and ReLU; sums of `width` addends."""
    torch.manual_seed(0)
    layers = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(width, 10)).to(DEVICE)


def drawn(*shape: int, seed: int = 0, device: str = DEVICE) -> Tensor:
    """Normal numbers, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(device)


def images(step: int) -> tuple[Tensor, Tensor]:
    """Eight images and their classes."""
    return drawn(8, 3, 8, 8, seed=step), torch.arange(8, device=DEVICE)


def sentences(step: int) -> tuple[Tensor, Tensor]:
    """Eight sequences of tokens and their classes."""
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, 50, (8, 12), generator=generator).to(DEVICE)
    return tokens, torch.arange(8, device=DEVICE)


def vectors(step: int) -> tuple[Tensor, Tensor]:
    """Eight vectors and their classes."""
    return drawn(8, 64, seed=step), torch.arange(8, device=DEVICE)


def step_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, draw: Callable[[int], tuple[Tensor, Tensor]]
) -> Callable[[int], Tensor]:
    """The plainest step of a training."""

    def step(number: int) -> Tensor:
        x, y = draw(number)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
